"""Catalogues without customers: fashion-products-meta and chorus-icecat, as attributes and facts.

    X[i, f] = 1 if product i has the value f;   facts: {(product, attribute, value)}, value != ""

There are no events: ``interactions`` holds all products and nobody. Categories hang under one
another by ``sub_of``.

Source: P. Aggarwal, Fashion Product Images, Kaggle, 2019; the Open Icecat catalogue as prepared by
E. Pugh et al., Chorus, github.com/querqy/chorus.
Differences from the paper: none.
Chapter: multimodal/alignment
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reclib.datasets.dataset import Dataset, multi_hot
from reclib.datasets.parsing import bad_line
from reclib.foundations.interactions import IdMap, Interactions, Triples

__all__ = ["load_fashion_products", "load_icecat"]

_FASHION = (
    "id", "gender", "masterCategory", "subCategory", "articleType", "baseColour", "season", "year",
    "usage", "productDisplayName",
)  # fmt: skip
_SHELF = ("articleType", "subCategory", "masterCategory")  # each under the next
_ICECAT = ("id", "name", "title", "short_description", "supplier", "price", "date_released")
_GRADES, _RATERS = "Broad_Query_Set_rated.csv", "Broad_Query_Set_individual_ratings.csv"


def load_fashion_products(name: str, files: Mapping[str, Path]) -> Dataset:
    """A zipped table whose titles may hold commas that nobody quoted."""
    path = files["styles.csv.zip"]
    lines = pd.Series(_unzipped(path).decode("utf-8").removesuffix("\n").split("\n"))
    if lines[0] != ",".join(_FASHION):
        raise bad_line(path, 1, "it", f"be {','.join(_FASHION)!r}", lines[0])
    lines = lines[1:].reset_index(drop=True)
    short = (lines.str.count(",") < len(_FASHION) - 1).to_numpy()
    if short.any():
        row = int(np.argmax(short))
        raise bad_line(path, row + 2, "it", f"hold {len(_FASHION)} fields", lines[row])
    table = lines.str.split(",", n=len(_FASHION) - 1, expand=True).set_axis(_FASHION, axis=1)
    products, items = _numbered(table)
    values = products.melt(["item"], _FASHION[1:-1], var_name="attribute")
    values = values[~values["value"].isin(["", "NA"])]
    shelf = [
        pd.DataFrame({"below": _label(lower, products[lower]), "above": _label(u, products[u])})
        for lower, u in pairwise(_SHELF)
    ]
    above = pd.concat(shelf).drop_duplicates()
    return _catalogue(name, items, values, above, {"products": products})


def load_icecat(name: str, files: Mapping[str, Path]) -> Dataset:
    """Zipped JSON lists of products, and grades of products for queries with their raters.

    Texts and truth values become facts; ``tables["attributes"]`` has the numbers as well, and says
    by ``kind`` which are which: t, b or n.
    """
    lists = [json.loads(_unzipped(files[file])) for file in files if file.endswith(".json.zip")]
    records: list[dict[str, Any]] = list(chain.from_iterable(lists))
    products, items = _numbered(pd.DataFrame([{c: r.get(c) for c in _ICECAT} for r in records]))
    numbers = items.encode([record["id"] for record in records])
    rows = [
        (item, key[7:], key[5], str(value))  # attr_t_colour: a text, the colour
        for item, record in zip(numbers.tolist(), records, strict=True)
        for key, value in record.items()
        if key.startswith("attr_")
    ]
    attributes = pd.DataFrame(rows, columns=["item", "attribute", "kind", "value"])
    brands = products[["item", "supplier"]].melt("item", var_name="attribute")
    words = attributes.loc[attributes["kind"] != "n", ["item", "attribute", "value"]]
    values = pd.concat([brands, words], ignore_index=True)
    tables = {"products": products, "attributes": attributes}
    for table, file in (("grades", _GRADES), ("raters", _RATERS)):
        frame = pd.read_csv(files[file], dtype={"docid": str})
        tables[table] = frame.assign(item=items.encode(frame["docid"])).drop(columns="docid")
    return _catalogue(name, items, values[values["value"] != ""], None, tables)


def _numbered(table: pd.DataFrame) -> tuple[pd.DataFrame, IdMap]:
    """The products in the order of their ids, with the number of each as ``item``."""
    items = IdMap(table["id"])
    if len(items) < len(table):
        again = table["id"][table["id"].duplicated()].iloc[0]
        raise ValueError(f"id must stand on one product only, got {again!r} twice")
    numbered = table.assign(item=items.encode(table["id"])).sort_values("item")
    return numbered.reset_index(drop=True), items


def _label(attribute: Any, value: Any) -> Any:
    return attribute + "=" + value


def _catalogue(
    name: str,
    items: IdMap,
    values: pd.DataFrame,
    above: pd.DataFrame | None,
    tables: Mapping[str, pd.DataFrame],
) -> Dataset:
    """Features and facts out of (item, attribute, value), and of what stands above what."""
    labels = _label(values["attribute"], values["value"])
    known, relations = IdMap(labels), IdMap(values["attribute"])
    rows, columns = values["item"].to_numpy(np.int64), known.encode(labels)
    names = tuple(relations.decode(np.arange(len(relations))))
    facts = [(rows, relations.encode(values["attribute"]), len(items) + columns)]
    if above is not None:
        ends = (len(items) + known.encode(above[end]) for end in ("below", "above"))
        facts.append((next(ends), np.full(len(above), len(names)), next(ends)))
        names += ("sub_of",)
    heads, kinds, tails = (np.concatenate(column) for column in zip(*facts, strict=True))
    n_items = len(items)
    return Dataset(
        name,
        Interactions([], [], n_users=0, n_items=n_items),
        item_features=multi_hot(rows, columns, (n_items, len(known))),
        items=items,
        tables=tables,
        item_feature_names=tuple(known.decode(np.arange(len(known)))),
        triples=Triples(heads, kinds, tails, n_items + len(known), len(names)),
        relation_names=names,
    )


def _unzipped(path: Path) -> bytes:
    """The only file of an archive."""
    with zipfile.ZipFile(path) as archive:
        [inner] = archive.namelist()
        return archive.read(inner)
