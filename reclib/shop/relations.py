"""The knowledge graph of the shop: what is true of its products, and what the shop knows of it.

true = union over relations r of {(h, r, t): rule_r(h, t)}
public = true - (15 % of its facts) + (3 % false facts of the right types)

A fact of a symmetric relation is both its triples: they are missing, or false, together, so that
no direction gives the other away. The taxonomy (``sub_of``) is whole and true in public too. Facts
are drawn evenly, whatever their relation.

Source: the shop's own rules; the share of missing and false facts is its specification's.

Differences from the paper: none is reproduced. Against the shop's specification:

1. Two relations more, ``has_size`` and ``has_feature`` (16), so that size and
   feature are in the graph too.
2. A false fact is a fact with one end replaced, evenly by an entity of the same type (not stated).
3. The rules of two products are capped, see `reclib.shop._pairs`.

Chapter: shop/simulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from reclib.foundations.interactions import Triples
from reclib.shop._occasions import OCCASIONS
from reclib.shop._pairs import complements, distinct, sold_with, substitutes, variants

if TYPE_CHECKING:
    from reclib.shop._world import World

__all__ = ["GraphLog", "KnowledgeGraph", "public_graph", "supported", "true_graph"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_ONE, _MANY = "many-to-one", "many-to-many"
_SHELF = ("leaf|category", "category|department")
# name, domain, range, cardinality, is it symmetric, can it be read off the public tables
_RELATIONS = (
    ("has_brand", "product", "brand", _ONE, False, True),
    ("in_leaf", "product", "leaf", _ONE, False, True),
    ("sub_of", *_SHELF, _ONE, False, True),
    ("has_colour", "product", "colour", _ONE, False, True),
    ("has_material", "product", "material", _ONE, False, True),
    ("has_pattern", "product", "pattern", _ONE, False, True),
    ("has_style", "product", "style", _ONE, False, True),
    ("for_audience", "product", "audience", _ONE, False, True),
    ("suits_season", "product", "season", _ONE, False, True),
    ("has_size", "product", "size", _ONE, False, True),
    ("has_feature", "product", "feature", _ONE, False, True),
    ("made_in", "product", "country", _ONE, False, True),
    ("brand_owned_by", "brand", "owner", _ONE, False, False),
    ("fits_occasion", "product", "occasion", _MANY, False, False),
    ("compatible_with", "product", "product", _MANY, False, False),
    ("substitute_of", "product", "product", _MANY, True, False),
    ("variant_of", "product", "product", _MANY, True, True),
    ("sold_with", "product", "product", _MANY, True, True),
)
_NUMBER = {row[0]: number for number, row in enumerate(_RELATIONS)}
_RANGE = {row[0]: row[2] for row in _RELATIONS}
_SUPPORTED = np.array([row[5] for row in _RELATIONS])
# relation -> attribute of the world; the range of the relation is the type of its values
_ATTRIBUTE = {
    "has_colour": "colour",
    "has_material": "material",
    "has_pattern": "pattern",
    "has_style": "style",
    "for_audience": "audience",
    "suits_season": "season",
    "has_size": "size",
    "has_feature": "feature",
    "made_in": "origin",
}
_ROUNDS = 100


@dataclass(frozen=True, eq=False, repr=False)
class KnowledgeGraph:
    """Entities, relations, and the facts that join them.

    Attributes:
        entities: entity, name, type. Products come first, so an item's id is its entity's.
        relations: relation, name, domain, range, cardinality, symmetric; ``leaf|category`` means
            either type, a symmetric relation has both its triples.
        triples: the facts, sorted by relation, head and tail, each once.
    """

    entities: pd.DataFrame
    relations: pd.DataFrame
    triples: Triples

    def __repr__(self) -> str:
        return (
            f"KnowledgeGraph({len(self.triples)} triples, {len(self.entities)} entities, "
            f"{len(self.relations)} relations)"
        )

    def pairs(self, relation: str) -> Ints:
        """(n, 2) heads and tails of the triples of ``relation``."""
        number = dict(zip(self.relations["name"], self.relations["relation"], strict=True))
        if relation not in number:
            raise ValueError(f"relation must be one of {sorted(number)}, got {relation!r}")
        chosen = self.triples.relations == number[relation]
        return np.stack([self.triples.heads[chosen], self.triples.tails[chosen]], axis=1)


@dataclass(frozen=True)
class GraphLog:
    """What was done to a true graph: public = true - missing + false.

    Attributes:
        missing: true triples the public graph lacks.
        false: triples of the public graph that are not true.
    """

    missing: Triples
    false: Triples


def true_graph(world: World, baskets: ArrayLike = (), items: ArrayLike = ()) -> KnowledgeGraph:
    """All that is true of the products of ``world``.

    Entities without any fact are left out, products apart.

    Args:
        world: products, brands, shelves and occasions.
        baskets: (n,) user, or session, of each purchase, for ``sold_with``.
        items: (n,) product of each purchase.

    Raises:
        ValueError: if ``baskets`` and ``items`` differ in length or an item is not a product.
    """
    baskets, items = np.asarray(baskets, np.int64), np.asarray(items, np.int64)
    n_items = len(world.leaves)
    if baskets.shape != items.shape or baskets.ndim != 1:
        raise ValueError(f"items must have shape {baskets.shape}, got {items.shape}")
    if items.size and not 0 <= items.min() <= items.max() < n_items:
        wrong = items[(items < 0) | (items >= n_items)][0]
        raise ValueError(f"items must be between 0 and {n_items - 1}, got {wrong}")
    entities = _entities(world)
    kind = entities["type"].to_numpy()
    first = {name: int(np.argmax(kind == name)) for name in pd.unique(kind)}
    facts = _attribute_facts(world, first) | _product_facts(world, baskets, items)
    rows = np.concatenate(
        [
            np.column_stack([np.full(len(facts[name]), number), facts[name]])
            for name, number in _NUMBER.items()
        ]
    )
    used = np.arange(len(entities)) < n_items
    used[rows[:, 1:]] = True
    rows[:, 1:] = (used.cumsum() - 1)[rows[:, 1:]]
    entities = entities[used].reset_index(drop=True)
    entities.insert(0, "entity", np.arange(len(entities)))
    relations = pd.DataFrame(
        [(number, *row[:5]) for number, row in enumerate(_RELATIONS)],
        columns=["relation", "name", "domain", "range", "cardinality", "symmetric"],
    )
    size = len(entities)
    return KnowledgeGraph(entities, relations, _triples(_keys(rows, size), size))


def public_graph(
    graph: KnowledgeGraph,
    generator: np.random.Generator,
    *,
    missing: float = 0.15,
    false: float = 0.03,
) -> tuple[KnowledgeGraph, GraphLog]:
    """What the shop knows: a true graph with facts missing and false ones among the rest.

    Args:
        graph: the true graph.
        generator: the randomness.
        missing: share of the facts outside the taxonomy that are left out, in [0, 1].
        false: false facts added, as a share of the same, in [0, 1].

    Returns:
        The public graph, with the entities and relations of ``graph``; and the log.

    Raises:
        ValueError: if a share is not in [0, 1] or so many false facts do not exist.
    """
    for name, share in (("missing", missing), ("false", false)):
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be between 0 and 1, got {share}")
    size = len(graph.entities)
    symmetric = graph.relations["symmetric"].to_numpy()
    true = _rows(graph.triples)
    loose = true[:, 0] != _NUMBER["sub_of"]
    facts = true[loose & ~(symmetric[true[:, 0]] & (true[:, 1] > true[:, 2]))]  # a row a fact
    gone = facts[generator.permutation(len(facts))[: round(missing * len(facts))]]
    wrong = _corrupted(graph, facts, round(false * len(facts)), generator)
    keys = _keys(true, size)
    gone_keys, wrong_keys = (_keys(_mirrored(each, symmetric), size) for each in (gone, wrong))
    known = distinct(np.concatenate([_without(keys, gone_keys), wrong_keys]))
    triples = (_triples(each, size) for each in (known, gone_keys, wrong_keys))
    return KnowledgeGraph(graph.entities, graph.relations, next(triples)), GraphLog(*triples)


def supported(graph: KnowledgeGraph) -> Bools:
    """(T,) which triples follow from the public tables of products and purchases alone.

    The others do not: occasions and owners stand in no table, complements and substitutes hang
    on latent vectors.
    """
    return _SUPPORTED[graph.triples.relations]


def _entities(world: World) -> pd.DataFrame:
    """Name and type of all that facts can be about, one type after the other."""
    shelf = world.geometry.shelf
    names = {
        "product": [f"product {item}" for item in range(len(world.leaves))],
        "brand": world.brand_names,
        "owner": world.owner_names,
        **{name: pd.unique(shelf[name]) for name in ("leaf", "category", "department")},
        **{_RANGE[name]: world.values[attribute] for name, attribute in _ATTRIBUTE.items()},
        "occasion": OCCASIONS,
    }
    return pd.concat(
        [pd.DataFrame({"name": list(each), "type": kind}) for kind, each in names.items()],
        ignore_index=True,
    )


def _attribute_facts(world: World, first: dict[str, int]) -> dict[str, Ints]:
    """Relation -> (n, 2) heads and tails, of all relations but those of two products."""
    products = np.arange(len(world.leaves))

    def join(tails: Ints, kind: str, heads: Ints = products) -> Ints:
        return np.column_stack([heads, first[kind] + tails])

    fits = np.argwhere(world.occasions)
    leaves = first["leaf"] + np.arange(len(world.leaf_category))
    # each category once, with the department of its first leaf
    categories, example = np.unique(world.leaf_category, return_index=True)
    parents = join(world.leaf_department[example], "department", first["category"] + categories)
    brands = first["brand"] + np.arange(len(world.brand_owner))
    return {
        "has_brand": join(world.brand, "brand"),
        "in_leaf": join(world.leaves, "leaf"),
        "sub_of": np.concatenate([join(world.leaf_category, "category", leaves), parents]),
        **{
            name: join(world.codes[attribute], _RANGE[name])
            for name, attribute in _ATTRIBUTE.items()
        },
        "brand_owned_by": join(world.brand_owner, "owner", brands),
        "fits_occasion": join(fits[:, 1], "occasion", fits[:, 0]),
    }


def _product_facts(world: World, baskets: Ints, items: Ints) -> dict[str, Ints]:
    """Relation -> (n, 2) products."""
    codes, leaves = world.codes, world.leaves
    style, size = codes["style"], codes["size"]
    return {
        "compatible_with": complements(world.item_vectors, leaves, style, size, world.complements),
        "substitute_of": substitutes(world.item_vectors, leaves, world.price),
        "variant_of": variants(
            np.column_stack([leaves, world.brand, style, codes["material"]]),
            np.column_stack([codes["colour"], size]),
        ),
        "sold_with": sold_with(baskets, items, len(leaves)),
    }


def _corrupted(
    graph: KnowledgeGraph, facts: Ints, n_wanted: int, generator: np.random.Generator
) -> Ints:
    """(F, 3) facts that are not true: one end of a true one replaced by its like."""
    size = len(graph.entities)
    kinds, kind = np.unique(graph.entities["type"], return_inverse=True)
    counts = np.bincount(kind)
    first = np.array([np.argmax(kind == each) for each in range(len(kinds))])
    true, found = _keys(facts, size), np.empty(0, np.int64)
    for _ in range(_ROUNDS):
        n_lacking = n_wanted - len(found)
        if not n_lacking:
            return _unkeyed(found, size)
        drawn = facts[generator.integers(len(facts), size=n_lacking)]
        row, end = np.arange(n_lacking), generator.integers(1, 3, n_lacking)
        like = kind[drawn[row, end]]
        drawn[row, end] = first[like] + generator.integers(counts[like])
        ordered = np.sort(drawn[:, 1:], axis=1)
        mirror = graph.relations["symmetric"].to_numpy()[drawn[:, 0]]
        drawn[mirror, 1:] = ordered[mirror]
        keys = _keys(drawn[drawn[:, 1] != drawn[:, 2]], size)
        found = distinct(np.concatenate([found, _without(keys, true)]))
    raise ValueError(f"false must ask for at most {len(found)} facts, got {n_wanted}")


def _mirrored(facts: Ints, symmetric: Bools) -> Ints:
    """Facts as triples: those of a symmetric relation in both directions."""
    return np.concatenate([facts, facts[symmetric[facts[:, 0]]][:, [0, 2, 1]]])


def _rows(triples: Triples) -> Ints:
    """(T, 3) relation, head, tail."""
    return np.column_stack([triples.relations, triples.heads, triples.tails])


def _keys(rows: Ints, size: int) -> Ints:
    """(T,) one number for each triple, sorted, each once."""
    return distinct((rows[:, 0] * size + rows[:, 1]) * size + rows[:, 2])


def _without(keys: Ints, others: Ints) -> Ints:
    return keys[~np.isin(keys, others, assume_unique=True)]


def _unkeyed(keys: Ints, size: int) -> Ints:
    pairs, tails = np.divmod(keys, size)
    return np.column_stack([*np.divmod(pairs, size), tails])


def _triples(keys: Ints, size: int) -> Triples:
    relations, heads, tails = _unkeyed(keys, size).T
    return Triples(heads, relations, tails, n_entities=size, n_relations=len(_RELATIONS))
