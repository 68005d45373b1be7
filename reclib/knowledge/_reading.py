"""The rules by which rows of a shop's tables are read as statements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from reclib.knowledge._evidence import Ends, Evidence, Said, gathered
from reclib.knowledge._names import normalize, other_script

Tables = Mapping[str, pd.DataFrame]
_Known = Mapping[tuple[str, str], Ends]  # the ends of a table's column of numbers
_DAY = 86_400
_START = 1_704_067_200  # day 0 of a shop: 1 January 2024


class Rule(NamedTuple):
    """Rows of a table as statements."""

    relation: str
    table: str
    head_type: str
    head: str  # a column
    tail_type: str
    tail: str
    value: str = ""  # a column of integers; without one a statement only counts


def _product(relation: str, column: str, kind: str = "") -> Rule:
    return Rule(relation, "products", "product", "item", kind or column, column)


RULES = (
    _product("has_brand", "brand"),
    _product("in_leaf", "leaf"),
    Rule("sub_of", "products", "leaf", "leaf", "category", "category"),
    Rule("sub_of", "products", "category", "category", "department", "department"),
    _product("has_colour", "colour"),
    _product("has_material", "material"),
    _product("has_pattern", "pattern"),
    _product("has_style", "style"),
    _product("for_audience", "audience"),
    _product("suits_season", "season"),
    _product("has_size", "size"),
    _product("has_feature", "feature"),
    _product("made_in", "origin", "country"),
    Rule("viewed", "clicks", "user", "user", "product", "item"),
    Rule("bought", "purchases", "user", "user", "product", "item"),
    Rule("rated", "ratings", "user", "user", "product", "item", "rating"),
    Rule("wrote", "reviews", "user", "user", "review", "review"),
    Rule("about", "reviews", "review", "review", "product", "item", "rating"),
    Rule("leads_to", "queries", "query", "text", "product", "item"),
)
_DECLARES = {"products": "item", "users": "user"}
_NUMBERED = {"user": "user", "item": "product"}  # columns of numbers -> what they number
_OWN = ("product", "review")  # types whose numbers are the domain's own
_TEXTS = {"reviews": "text", "queries": "text"}
_READ = {rule.table for rule in RULES} | set(_DECLARES)
_EVENT = ("user", "item", "timestamp")


def read(tables: Tables, *, domain: str = "", hidden: Iterable[str] = ()) -> Evidence:
    """What tables state.

    Args:
        tables: any of products, users, queries with impressions, clicks, purchases, ratings and
            reviews, as `reclib.shop` has them; a rule whose columns are not there states nothing.
        domain: put before the names of products and reviews, whose numbers are the domain's own.
        hidden: columns of the products that are not looked at.
    """
    tables = _prepared(tables, set(hidden))
    known = {
        (name, column): _ends(kind, table[column], domain)
        for name, table in tables.items()
        for column, kind in _NUMBERED.items()
        if column in table
    }
    return gathered(
        [_said(rule, tables[rule.table], known, domain) for rule in RULES if _fits(rule, tables)],
        [known[each].entities.assign(declared=1) for each in _DECLARES.items() if each in known],
        _baskets(tables, known, domain),
        _pages(tables, known, domain),
        _gaps(tables),
    )


def _prepared(tables: Tables, hidden: set[str]) -> dict[str, pd.DataFrame]:
    """The tables with names cleaned, a timestamp each, and searches with what was clicked."""
    ready = {name: table for name, table in tables.items() if name in _READ}
    for name, table in ready.items():
        for column in _NUMBERED:
            if column in table and table[column].dtype.kind not in "iu":
                raise ValueError(f"{name}.{column} must be integers, got {table[column].dtype}")
    if "products" in ready:
        ready["products"] = _products(ready["products"], hidden)
    if "queries" in ready and "impressions" in tables:
        shown = tables["impressions"]
        clicked = shown.loc[shown["click"].to_numpy(bool), ["request", "item", "timestamp"]]
        searches = ready["queries"][["request", "text"]].drop_duplicates("request")
        rows = clicked.merge(searches, on="request")
        codes, texts = pd.factorize(rows["text"].fillna("").astype(str))
        plain = normalize(pd.Series(texts, dtype=str)).to_numpy(object)
        ready["queries"] = rows.assign(text=pd.Series(plain[codes], rows.index, dtype=str))
    if "reviews" in ready:
        user, item, time = (ready["reviews"][name].astype(str) for name in _EVENT)
        ready["reviews"] = ready["reviews"].assign(review=user + " " + item + " " + time)
    return ready


def _products(products: pd.DataFrame, hidden: set[str]) -> pd.DataFrame:
    """The table without hidden columns; names are strings, empty where missing."""
    products = products.drop(columns=list(hidden), errors="ignore")
    columns = {rule.tail for rule in RULES if rule.table == "products"} & set(products)
    named = {name: products[name].fillna("").astype(str).str.strip() for name in columns}
    day: Any = products["arrival_day"] if "arrival_day" in products else 0
    return products.assign(**named, timestamp=_START + _DAY * day)


def _fits(rule: Rule, tables: Tables) -> bool:
    wanted = {rule.head, rule.tail, "timestamp", *([rule.value] if rule.value else [])}
    return rule.table in tables and wanted <= set(tables[rule.table])


def _said(rule: Rule, table: pd.DataFrame, known: _Known, domain: str) -> Said:
    """The statements of one rule; a row without one of its names makes none."""
    kept = np.ones(len(table), bool)
    for column in {rule.head, rule.tail} - set(_NUMBERED):
        kept &= (table[column] != "").to_numpy(bool)

    def ends(kind: str, column: str) -> Ends:
        if column in _NUMBERED:
            entities, rows = known[rule.table, column]
            return Ends(entities, rows[kept])
        return _ends(kind, table[column][kept], domain)

    value = table[rule.value].to_numpy(np.int64) if rule.value else np.ones(len(table), np.int64)
    return Said(
        (rule.relation, rule.table, f"{rule.head} > {rule.tail}", int(bool(rule.value))),
        ends(rule.head_type, rule.head),
        ends(rule.tail_type, rule.tail),
        value[kept],
        table["timestamp"].to_numpy(np.int64)[kept],
    )


def _ends(kind: str, values: pd.Series, domain: str) -> Ends:
    """Entities of one type; those that are numbered are named after their type and domain."""
    codes, distinct = pd.factorize(values)
    names = pd.Series(distinct).astype(str)
    if kind == "user" or kind in _OWN:
        names = (f"{domain} {kind} " if domain and kind in _OWN else f"{kind} ") + names
    entities = pd.DataFrame({"type": kind, "name": names, "declared": 0})
    return Ends(entities.astype({"type": str, "name": str}), codes.astype(np.int64))


def _baskets(tables: Tables, known: _Known, domain: str) -> tuple[Ends, pd.DataFrame] | None:
    sales = tables.get("purchases")
    if sales is None or "session" not in sales:
        return None
    times, baskets = (sales[name].to_numpy(np.int64) for name in ("timestamp", "session"))
    frame = pd.DataFrame({"basket": baskets, "first": times})
    return known["purchases", "item"], _of_domain(frame, domain)


def _pages(tables: Tables, known: _Known, domain: str) -> tuple[Ends, pd.DataFrame] | None:
    products = tables.get("products")
    if products is None:
        return None
    title = products["title"].fillna("").astype(str) if "title" in products else ""
    price = products["price"].astype(float) if "price" in products else np.nan
    frame = pd.DataFrame({"title": title, "price": price}, products.index)
    frame = frame.astype({"title": str}).reset_index(drop=True)
    return known["products", "item"], _of_domain(frame, domain)


def _of_domain(rows: pd.DataFrame, domain: str) -> pd.DataFrame:
    return rows.assign(domain=pd.Series(domain, rows.index, dtype=str))


def _gaps(tables: Tables) -> pd.DataFrame:
    """Names and texts that are empty, and texts in another script: kind, where and n."""
    found = [
        ("empty name", f"products.{rule.tail}", tables["products"][rule.tail] == "")
        for rule in RULES
        if rule.table == "products" and _fits(rule, tables)
    ]
    for name, column in _TEXTS.items():
        if name in tables and column in tables[name]:
            text = tables[name][column].fillna("").astype(str)
            where = f"{name}.{column}"
            found.append(("empty text", where, text.str.strip() == ""))
            found.append(("other script", where, other_script(text)))
    rows = [(kind, where, int(cells.sum())) for kind, where, cells in found]
    frame = pd.DataFrame(rows, columns=["kind", "where", "n"])
    return frame.astype({"kind": str, "where": str, "n": np.int64})
