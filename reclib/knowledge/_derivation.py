"""From evidence to facts: one name a thing, what the schema allows, and what follows from it.

Everything here works on entities in an order of their own (type, length of name, name) and on whole
numbers, so that the result hangs on what is stated and not on the order in which it came.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammainc

from reclib.knowledge._evidence import Evidence, summed
from reclib.knowledge._names import pairs_within, same_names, same_products
from reclib.knowledge._quality import Findings
from reclib.knowledge._schema import Schema

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
_VARIANT = ("in_leaf", "has_brand", "has_style", "has_material")  # equal in all of these
_OTHER = ("has_colour", "has_size")  # and different in one of these
_LISTED = ("product", "user")  # types that a table must list
_LIFT, _CHANCE = 2.0, 1e-4
_BUYING = 4  # views that a purchase is worth as a sign of interest
_SHARE = 0.5  # of a query's clicks, for the query to lead to a leaf
DERIVED = pd.DataFrame(
    [
        ("variant_of", "products", f"same {', '.join(_VARIANT)}; other {' or '.join(_OTHER)}"),
        ("sold_with", "purchases", f"in {_LIFT:g} times as many baskets as by chance"),
        ("interested_in", "clicks, purchases", f"leaf or brand {_LIFT:g} times as often as others"),
        ("leads_to", "queries", f"leaf of {_SHARE:.0%} of the clicks"),
    ],
    columns=["relation", "table", "rule"],
).assign(valued=0)
_FACT = ["head", "relation", "tail", "source", "count", "weight", "first", "last"]


@dataclass(frozen=True)
class Derived:
    """What `derive` finds; ids are those of the evidence.

    Attributes:
        same_as: (E,) of each entity the one that it is.
        facts: head, relation, tail, source, count, weight, first, last.
        findings: what is wrong with the evidence.
    """

    same_as: Ints
    facts: pd.DataFrame
    findings: Findings


def derive(schema: Schema, evidence: Evidence) -> Derived:
    """The facts of a graph, in the order of their names.

    Args:
        schema: what a fact may be.
        evidence: its sources begin with `DERIVED`.
    """
    entities, back = _ordered(evidence.entities)
    place = np.argsort(back)  # of each id of the evidence
    number = {name: k for k, name in enumerate(schema.names)}
    sources = evidence.sources
    rows = evidence.statements.assign(
        head=place[evidence.statements["head"]],
        tail=place[evidence.statements["tail"]],
        relation=sources["relation"].map(number).fillna(-1).to_numpy(np.int64)[
            evidence.statements["source"]
        ],
    )  # fmt: skip
    pages = evidence.pages.assign(product=place[evidence.pages["product"]])
    pages = pages.sort_values("product", ignore_index=True)
    findings = Findings(entities, schema, sources)
    same = _resolved(entities, rows, pages, schema)
    findings.merged(same)
    facts = _allowed(rows, same, entities, schema, findings)
    facts = _single(facts, schema, findings)
    findings.cycles(facts)
    domain = np.full(len(entities), -1)
    _, codes = np.unique(pages["domain"].to_numpy(str), return_inverse=True)
    domain[pages["product"]] = codes
    baskets = evidence.baskets.assign(product=same[place[evidence.baskets["product"]]])
    baskets = baskets[baskets["product"].isin(pages["product"])]
    more = [
        _variants(facts, number, domain),
        _sold_with(baskets, domain),
        _interests(facts, number, domain),
        _leads(facts, number),
    ]
    derived = [
        rows.assign(relation=number[name], source=k)
        for k, (name, rows) in enumerate(zip(DERIVED["relation"], more, strict=True))
        if name in number
    ]
    every = pd.concat([facts, *derived], ignore_index=True)[_FACT]
    every = every.sort_values(["relation", "head", "tail", "source"], ignore_index=True)
    findings.gaps(evidence.gaps)
    every = every.assign(head=back[every["head"]], tail=back[every["tail"]])
    return Derived(back[same][place], every, findings)


def _ordered(entities: pd.DataFrame) -> tuple[pd.DataFrame, Ints]:
    """Entities by type, length of name and name, and the number that each had."""
    named = entities.assign(length=entities["name"].str.len())
    named = named.sort_values(["type", "length", "name"])
    return named.reset_index(drop=True), named.index.to_numpy(np.int64)


def _resolved(
    entities: pd.DataFrame, rows: pd.DataFrame, pages: pd.DataFrame, schema: Schema
) -> Ints:
    """(E,) of each entity the one it is: names spelt otherwise, products entered twice."""
    counts = np.zeros(len(entities), np.int64)
    for end in ("head", "tail"):
        np.add.at(counts, rows[end].to_numpy(), rows["count"].to_numpy())
    same = same_names(entities, counts)
    columns = {}
    for number, relation in enumerate(schema.relations):
        attribute = relation.domain == "product" and relation.cardinality == "many-to-one"
        if attribute and relation.name != "in_leaf":
            mine = rows[rows["relation"] == number]
            tails = np.full(len(same), len(same))
            np.minimum.at(tails, mine["head"].to_numpy(), same[mine["tail"]])
            columns[relation.name] = np.where(tails < len(same), tails, -1)[pages["product"]]
    copies = same_products(pages, pd.DataFrame(columns, index=pages.index))
    same[copies["product"].to_numpy(np.int64)] = copies["same_as"].to_numpy(np.int64)
    return same


def _allowed(
    rows: pd.DataFrame, same: Ints, entities: pd.DataFrame, schema: Schema, findings: Findings
) -> pd.DataFrame:
    """The statements that the schema allows, about entities that there are; symmetric both ways."""
    rows = rows.assign(head=same[rows["head"]], tail=same[rows["tail"]])
    kind, listed = entities["type"].to_numpy(str), entities["declared"].to_numpy(bool)
    lacks = np.isin(kind, [each for each in _LISTED if (listed & (kind == each)).any()]) & ~listed
    if not (listed & (kind == "product")).any():
        lacks |= kind == "product"
    fits = np.ones(len(rows), bool)
    relation = rows["relation"].to_numpy()
    for number, each in enumerate(schema.relations):
        here = relation == number
        for end, types in (("head", each.domain), ("tail", each.range)):
            fits[here] &= np.isin(kind[rows[end].to_numpy()[here]], types.split("|"))
    checks = (
        ("unknown relation", relation < 0),
        ("type violation", ~fits),
        ("dangling id", lacks[rows["head"]] | lacks[rows["tail"]]),
        ("self-loop", (rows["head"] == rows["tail"]).to_numpy()),
    )
    for what, wrong in checks:
        findings.statements(what, rows[wrong])
    rows = rows[~np.any([wrong for _, wrong in checks], axis=0)]
    findings.repeated(rows)
    symmetric = np.array([each.symmetric for each in schema.relations], bool)
    mirror = rows[symmetric[rows["relation"]]]
    rows = pd.concat([rows, mirror.rename(columns={"head": "tail", "tail": "head"})])
    rows = summed(rows, ["relation", "head", "tail", "source"])
    valued = findings.sources["valued"].to_numpy(bool)[rows["source"]]
    return rows.assign(weight=np.where(valued, rows["total"] / rows["count"], rows["count"]))


def _single(facts: pd.DataFrame, schema: Schema, findings: Findings) -> pd.DataFrame:
    """Of facts that contradict each other by cardinality the one that most rows state.

    Equal numbers: the one first said, then the lower id.
    """
    keys = ["relation", "head", "tail"]
    triples = summed(facts[[*keys, "count", "first"]], keys).sort_values(
        ["count", "first", *keys], ascending=[False] + [True] * 4
    )
    lost = np.zeros(len(triples), bool)
    for many, one in (("head", "tail"), ("tail", "head")):
        word = "-to-one" if many == "head" else "one-to-"
        single = np.array([word in each.cardinality for each in schema.relations], bool)
        chosen = single[triples["relation"]] & ~lost
        held = triples[chosen]
        again = held.duplicated(["relation", many]).to_numpy()
        lost[np.flatnonzero(chosen)[again]] = True
        kept = held.groupby(["relation", many])[one].transform("first")
        findings.contradictions(held[again], one, kept[again])
    gone = pd.MultiIndex.from_frame(triples.loc[lost, keys])
    return facts[~pd.MultiIndex.from_frame(facts[keys]).isin(gone)]


def _tails(facts: pd.DataFrame, relation: int, size: int) -> Ints:
    """(E, 3) of each entity its tail by a many-to-one relation, first and last; -1 without."""
    mine = facts.loc[facts["relation"] == relation, ["head", "tail", "first", "last"]]
    one = summed(mine, ["head", "tail"])
    every = np.full((size, 3), -1)
    every[one["head"]] = one[["tail", "first", "last"]].to_numpy()
    return every


def _variants(facts: pd.DataFrame, number: dict[str, int], domain: Ints) -> pd.DataFrame:
    """Products of one leaf, brand, style and material that differ in colour or size."""
    tails = [_tails(facts, number.get(name, -1), len(domain)) for name in (*_VARIANT, *_OTHER)]
    codes = np.column_stack([each[:, 0] for each in tails])  # (E, 6)
    heads = np.flatnonzero((codes >= 0).all(1))
    alike = pd.DataFrame(codes[heads, : len(_VARIANT)]).assign(domain=domain[heads])
    groups = alike.groupby(list(alike), sort=False).ngroup().to_numpy(np.int64)
    first, second = (heads[each] for each in pairs_within(groups))
    other = (codes[first, len(_VARIANT) :] != codes[second, len(_VARIANT) :]).any(1)
    _, since, until = tails[0].T
    first, second = first[other], second[other]
    pairs = pd.DataFrame({"head": first, "tail": second, "count": 1, "weight": 1.0})
    pairs["first"] = np.maximum(since[first], since[second])
    pairs["last"] = np.maximum(until[first], until[second])
    return _both_ways(pairs)


def _sold_with(baskets: pd.DataFrame, domain: Ints) -> pd.DataFrame:
    """Products in one basket more often than by chance, in two baskets or more.

    Kept if n_ij >= 2, n_ij >= 2 e_ij and P(Poisson(e_ij) >= n_ij) < 1e-4, e_ij = n_i n_j / N with
    the N baskets of the domain; the weight is n_ij / e_ij.
    """
    keys = ["domain", "basket", "product"]
    held = summed(baskets, keys)
    groups = held.groupby(["domain", "basket"], sort=False).ngroup().to_numpy(np.int64)
    first, second = pairs_within(groups)
    product, time = held["product"].to_numpy(), held["first"].to_numpy()
    times = np.maximum(time[first], time[second])
    ends = {"head": product[first], "tail": product[second]}  # ascending, as they are in ``held``
    pairs = pd.DataFrame({**ends, "first": times, "last": times})
    pairs = summed(pairs.assign(count=1), ["head", "tail"])
    counts = np.bincount(product, minlength=len(domain))
    sizes = held.drop_duplicates(["domain", "basket"])["product"]
    total = np.bincount(domain[sizes], minlength=1)[domain[pairs["head"]]]
    both = counts[pairs["head"]], counts[pairs["tail"]]
    return _both_ways(_lifted(pairs, both[0] * both[1], total))


def _interests(facts: pd.DataFrame, number: dict[str, int], domain: Ints) -> pd.DataFrame:
    """Leaves and brands that a customer turns to more often than customers do.

    A view is a point and a purchase four; kept as in `_sold_with`, with n_ij the customer's points
    in the leaf or brand; the weight is n_ij / e_ij.
    """
    viewed, bought = (
        facts[facts["relation"] == number.get(name, -1)] for name in ("viewed", "bought")
    )
    points = pd.concat([viewed, bought.assign(count=_BUYING * bought["count"])])
    found = []
    for name in ("in_leaf", "has_brand"):
        tail = _tails(facts, number.get(name, -1), len(domain))[:, 0]
        rows = pd.DataFrame(
            {"head": points["head"], "tail": tail[points["tail"]], "domain": domain[points["tail"]],
             "count": points["count"], "first": points["first"], "last": points["last"]}
        )  # fmt: skip
        rows = summed(rows[rows["tail"] >= 0], ["domain", "head", "tail"])
        place, size = rows["domain"].to_numpy(), len(domain)
        sums = [
            np.bincount(code, rows["count"])[code].astype(np.int64)
            for code in (place * size + rows["head"], place * size + rows["tail"], place)
        ]
        found.append(_lifted(rows, sums[0] * sums[1], sums[2]))
    return summed(pd.concat(found).drop(columns="domain"), ["head", "tail"])


def _leads(facts: pd.DataFrame, number: dict[str, int]) -> pd.DataFrame:
    """Leaves with at least half of the clicks of a query that was clicked twice or more."""
    size = int(facts[["head", "tail"]].max().max()) + 1 if len(facts) else 0
    rows = facts[facts["relation"] == number.get("leads_to", -1)]
    leaf = _tails(facts, number.get("in_leaf", -1), size)[:, 0]
    rows = rows.assign(tail=leaf[rows["tail"]])
    rows = summed(rows[rows["tail"] >= 0], ["head", "tail"])
    clicks = rows.groupby("head")["count"].transform("sum")
    rows = rows.assign(weight=rows["count"] / clicks)
    return rows[(rows["weight"] >= _SHARE) & (rows["count"] >= 2)]


def _lifted(rows: pd.DataFrame, product: Ints, total: Ints) -> pd.DataFrame:
    """Rows seen more often than by chance, with their lift as weight."""
    count, expected = rows["count"].to_numpy(), product / np.maximum(total, 1)
    kept = (count >= 2) & (count >= _LIFT * expected)
    kept &= gammainc(count, expected) < _CHANCE  # the Poisson tail
    return rows.assign(weight=count / expected)[kept]


def _both_ways(pairs: pd.DataFrame) -> pd.DataFrame:
    back = pairs.rename(columns={"head": "tail", "tail": "head"})
    return pd.concat([pairs, back], ignore_index=True)
