"""A graph as others read it: models, PyTorch Geometric, NetworkX, RDF and Cypher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reclib.foundations.interactions import Triples
from reclib.knowledge._evidence import summed
from reclib.shop.relations import KnowledgeGraph

if TYPE_CHECKING:
    from reclib.knowledge.graph import Graph

_COLUMNS = ["count", "weight", "first", "last"]
_W3 = "http://www.w3.org"
_TYPE = f"<{_W3}/1999/02/22-rdf-syntax-ns#type>"
_LABEL = f"<{_W3}/2000/01/rdf-schema#label>"


def knowledge_graph(graph: Graph, n_items: int, *, domain: str = "") -> KnowledgeGraph:
    """The graph as models read it: products first, so that an item's id is its entity's.

    Entities without facts are left out, products apart; a copy of a product has no facts. Take
    `Graph.selected` first to leave relations out.

    Args:
        graph: any.
        n_items: products 0 .. n_items - 1 of the domain come first.
        domain: whose products those are.
    """
    if n_items < 0:
        raise ValueError(f"n_items must be at least 0, got {n_items}")
    facts, nodes = _parts(graph)
    prefix = f"{domain} product " if domain else "product "
    items = pd.DataFrame(
        {"type": "product", "name": prefix + pd.Series(range(n_items)).astype(str)}
    )
    known = graph.entities.merge(items.assign(item=items.index), on=["type", "name"])
    others = nodes[~nodes["entity"].isin(known["entity"])].sort_values(["type", "name"])
    entities = pd.concat([items, others], ignore_index=True)[["name", "type"]]
    entities.insert(0, "entity", np.arange(len(entities)))
    place = np.full(len(graph.entities), -1)
    place[known["entity"]] = known["item"]
    place[others["entity"]] = n_items + np.arange(len(others))
    used, numbers = np.unique(facts["relation"], return_inverse=True)
    relations = graph.relations.iloc[used].drop(columns="hierarchical")
    relations = relations.assign(relation=np.arange(len(used))).reset_index(drop=True)
    rows = np.column_stack([numbers, place[facts["head"]], place[facts["tail"]]])
    rows = rows[np.lexsort(rows.T[::-1])]
    triples = Triples(
        rows[:, 1], rows[:, 0], rows[:, 2], n_entities=len(entities), n_relations=len(used)
    )
    return KnowledgeGraph(entities, relations, triples)


def hetero_data(graph: Graph) -> Any:
    """A `torch_geometric.data.HeteroData`: a node store for each type, an edge store for each kind.

    Node stores have ``num_nodes`` and ``entity``, the graph's numbers (int64); edge stores
    (head type, relation, tail type) have ``edge_index`` (2, n) in the node stores' numbers, and
    ``edge_weight`` and ``edge_time`` (n,), the fact's weight and its last second.

    Raises:
        ImportError: without the extra ``graph``.
    """
    try:
        from torch_geometric.data import HeteroData
    except ImportError as error:
        raise ImportError("hetero_data needs torch-geometric: pip install -e '.[graph]'") from error
    import torch

    facts, nodes = _parts(graph)
    data = HeteroData()
    for kind, mine in nodes.groupby("type", sort=False):
        data[kind].num_nodes = len(mine)
        data[kind].entity = torch.tensor(mine["entity"].to_numpy(np.int64))
    for (head, relation, tail), mine in facts.groupby(["head_type", "name", "tail_type"]):
        store = data[head, relation, tail]
        ends = mine[["head_place", "tail_place"]].to_numpy(np.int64).T
        store.edge_index = torch.tensor(ends)
        store.edge_weight = torch.tensor(mine["weight"].to_numpy(), dtype=torch.float32)
        store.edge_time = torch.tensor(mine["last"].to_numpy(np.int64))
    return data


def networkx_graph(graph: Graph) -> Any:
    """A `networkx.MultiDiGraph`: nodes are the graph's numbers, keys of edges the relations' names.

    Nodes have ``name`` and ``type``, edges ``count``, ``weight``, ``first`` and ``last``. Entities
    without facts are left out.

    Raises:
        ImportError: without the extra ``graph``.
    """
    try:
        import networkx as nx
    except ImportError as error:
        raise ImportError("networkx_graph needs networkx: pip install -e '.[graph]'") from error
    facts, nodes = _parts(graph)
    made = nx.from_pandas_edgelist(
        facts, "head", "tail", edge_attr=_COLUMNS, create_using=nx.MultiDiGraph, edge_key="name"
    )
    nx.set_node_attributes(made, nodes.set_index("entity")[["name", "type"]].to_dict("index"))
    return made


def n_triples(graph: Graph, base: str = "https://example.org/shop/") -> str:
    """The graph in the N-Triples form of RDF: a line a triple, types and labels of entities first.

    An entity is ``<base + type/number>``, a relation ``<base + relation/name>``.

    Args:
        graph: any.
        base: an absolute address that ends in ``/`` or ``#``.
    """
    if "://" not in base or base[-1] not in "/#" or not base.isprintable() or " " in base:
        raise ValueError(f"base must be an address that ends in / or #, got {base!r}")
    facts, nodes = _parts(graph)
    number = nodes["entity"].astype(str)
    address = pd.Series(
        ("<" + base + nodes["type"] + "/" + number + ">").to_numpy(), nodes["entity"]
    )
    label = nodes["name"].str.replace("\\", "\\\\", regex=False)
    for letter, escape in (('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        label = label.str.replace(letter, escape, regex=False)
    lines = [
        address.to_numpy() + f" {_TYPE} <{base}type/" + nodes["type"].to_numpy() + "> .",
        address.to_numpy() + f' {_LABEL} "' + label.to_numpy() + '" .',
        address[facts["head"]].to_numpy()
        + (" <" + base + "relation/" + facts["name"] + "> ").to_numpy()
        + address[facts["tail"]].to_numpy()
        + " .",
    ]
    return "".join(line + "\n" for each in lines for line in each)


def rdf_graph(graph: Graph, base: str = "https://example.org/shop/") -> Any:
    """An `rdflib.Graph` of `n_triples`.

    Raises:
        ImportError: without the extra ``kg``.
    """
    try:
        from rdflib import Graph as Rdf
    except ImportError as error:
        raise ImportError("rdf_graph needs rdflib: pip install -e '.[kg]'") from error
    return Rdf().parse(data=n_triples(graph, base), format="nt")


def cypher_database(graph: Graph, path: Path | None = None) -> Any:
    """A connection to a Ladybug database, which answers Cypher, with the graph in it.

    A node table for each type, with ``id`` (the graph's number) and ``name``; a table for each
    relation, with ``count``, ``weight``, ``first`` and ``last``. Put names that are words of Cypher
    between backticks. ``connection.execute(query).get_as_df()`` is a frame.

    Args:
        graph: any.
        path: a new file; None: in memory.

    Raises:
        ImportError: without the extra ``kg``.
        ValueError: if there is something at ``path``.
    """
    try:
        import ladybug
    except ImportError as error:
        raise ImportError("cypher_database needs ladybug: pip install -e '.[kg]'") from error
    if path is not None and path.exists():
        raise ValueError(f"path must be new, got {path}")
    facts, nodes = _parts(graph)
    connection = ladybug.Connection(ladybug.Database(":memory:" if path is None else str(path)))
    for kind, mine in nodes.groupby("type", sort=False):
        connection.execute(f"CREATE NODE TABLE `{kind}` (id INT64 PRIMARY KEY, name STRING)")
        _copy(connection, str(kind), mine[["entity", "name"]])
    ends = ["head_type", "tail_type"]
    for name, mine in facts.groupby("name"):
        pairs = mine[ends].drop_duplicates().itertuples(index=False)
        said = ", ".join(f"FROM `{head}` TO `{tail}`" for head, tail in pairs)
        connection.execute(
            f"CREATE REL TABLE `{name}` ({said}, "
            "`count` INT64, weight DOUBLE, `first` INT64, `last` INT64)"
        )
        for (head, tail), part in mine.groupby(ends):
            options = f" (from='{head}', to='{tail}')"
            _copy(connection, str(name), part[["head", "tail", *_COLUMNS]], options)
    return connection


def _copy(connection: Any, table: str, rows: pd.DataFrame, options: str = "") -> None:
    import pyarrow as pa

    connection.execute(
        f"COPY `{table}` FROM $rows{options}",
        {"rows": pa.Table.from_pandas(rows, preserve_index=False)},
    )


def _parts(graph: Graph) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Triples, each once, with names and types, and the entities that they are about."""
    names = np.array(graph.schema.names, object)
    facts = summed(graph.facts, ["relation", "head", "tail"])
    used = np.unique(facts[["head", "tail"]].to_numpy())
    nodes = graph.entities.iloc[used][["entity", "name", "type"]]
    nodes = nodes.sort_values(["type", "entity"], ignore_index=True)
    place = nodes.groupby("type").cumcount().set_axis(nodes["entity"])
    kind = graph.entities["type"].to_numpy(object)
    facts = facts.assign(name=names[facts["relation"]])
    for end in ("head", "tail"):
        facts[f"{end}_type"] = kind[facts[end]]
        facts[f"{end}_place"] = place[facts[end]].to_numpy()
    return facts, nodes
