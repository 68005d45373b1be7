"""One thing, one name: spellings of a name, typing errors in it, and products entered twice."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from reclib.shop.data_quality import repair_encoding

Ints = NDArray[np.int64]

NUMBERED = ("product", "user", "review", "query")
"""Types whose names are keys already; the names of all others may be spelt in several ways."""

_SPELLINGS = {
    "aluminum": "aluminium", "color": "colour", "colors": "colours", "fiber": "fibre",
    "gray": "grey", "jewelry": "jewellery", "multicolor": "multicolour", "pajamas": "pyjamas",
}  # fmt: skip
_UNITS = {
    "mm": (1, "mm"), "cm": (10, "mm"), "m": (1_000, "mm"), "g": (1, "g"), "kg": (1_000, "g"),
    "ml": (1, "ml"), "cl": (10, "ml"), "l": (1_000, "ml"),
}  # fmt: skip
_MEASURE = re.compile(rf"\b(\d+(?:[.,]\d+)?) ?({'|'.join(_UNITS)})\b")
_AMERICAN = re.compile(rf"\b(?:{'|'.join(_SPELLINGS)})\b")
_ACCENT = re.compile("(?<=[a-z])[\u0300-\u036f]+")
# a point stands between digits only; the last range is marks that belong to letters of Asia
_OTHER = re.compile(r"(?:(?<!\d)\.|\.(?!\d)|[^\w.\u0300-\u036f\u0590-\u0eff]|_)+")
_FOREIGN = re.compile(r"[^\W\d_a-zA-Z\u00aa-\u024f\u1e00-\u1eff]")
_BROKEN = re.compile("[\u00c2\u00c3\u00e2]")
_FIRM = re.compile(" (?:ltd|limited|inc|llc|gmbh|ag|plc|corp)$")
_LEAST = 5  # letters of a name in which a typing error is looked for
_RARER = 10  # times that a mistyped name is rarer than the right one
_ALIKE = 0.6  # cosine of two titles of one product
_PRICE_GAP = 0.02
_KNOWN = 3  # attributes that must be known before two products are compared


def normalize(names: pd.Series) -> pd.Series:
    """Names as they are compared: one spelling for what differs in writing only.

    In this order: mojibake is read again; Unicode NFKC; lower case; accents of Latin letters go,
    other scripts keep their marks; "&" is "and"; a length, weight or volume is in mm, g or ml
    (``0,5 L`` is ``500 ml``); what is neither letter, mark nor digit is a space; American spelling
    becomes British; a firm's form at the end goes (``Ltd``); single spaces.

    Args:
        names: (n,) strings; missing ones become "".

    Returns:
        (n,) strings with the index of ``names``; "" where nothing is left.
    """
    text = names.fillna("").astype(str)
    broken = text.str.contains(_BROKEN)
    if broken.any():
        text = text.mask(broken, repair_encoding(text[broken]))
    text = text.str.normalize("NFKC").str.casefold().str.normalize("NFKD")
    text = text.str.replace(_ACCENT, "", regex=True).str.normalize("NFKC")
    text = text.str.replace("&", " and ", regex=False)
    text = text.str.replace(_MEASURE, _measure, regex=True)
    text = text.str.replace(_OTHER, " ", regex=True)
    text = text.str.replace(_AMERICAN, _british, regex=True)
    return text.str.strip().str.replace(_FIRM, "", regex=True)


def other_script(names: pd.Series) -> pd.Series:
    """(n,) bool, which names have a letter that is not Latin."""
    return names.str.contains(_FOREIGN).astype(bool)


def _measure(match: re.Match[str]) -> str:
    factor, unit = _UNITS[match[2]]
    return f" {float(match[1].replace(',', '.')) * factor:.12g} {unit} "


def _british(match: re.Match[str]) -> str:
    return _SPELLINGS[match[0]]


def same_names(entities: pd.DataFrame, counts: Ints) -> Ints:
    """(E,) of each entity the one whose name it bears in another spelling, or itself.

    Names of one type with the same normalised form are one entity, called as most facts call it. A
    typing error is a name ten times rarer than one that has a letter more or less, or two
    neighbouring letters swapped. A letter replaced is no error: brands of their own differ so; nor
    is anything in a name with digits.

    Args:
        entities: name, type; ties go to the lower row.
        counts: (E,) facts of each.
    """
    same = np.arange(len(entities))
    rows = np.flatnonzero(~entities["type"].isin(NUMBERED).to_numpy())
    named = pd.DataFrame(
        {
            "row": rows,
            "type": entities["type"].to_numpy()[rows],
            "key": normalize(entities["name"].iloc[rows]).to_numpy(),
            "count": counts[rows],
        }
    )
    named = named[named["key"] != ""].sort_values(["count", "row"], ascending=[False, True])
    first = named.groupby(["type", "key"], sort=False)["row"].transform("first")
    same[named["row"].to_numpy()] = first.to_numpy()
    total = named.groupby(["type", "key"], sort=False)["count"].transform("sum")
    kept = named.assign(count=total)[(named["row"] == first).to_numpy()]
    wrong, right = _mistyped(kept)
    same[wrong] = right
    for _ in range(3):  # a copy's original may itself have turned out a copy
        same = same[same]
    return same


def _mistyped(named: pd.DataFrame) -> tuple[Ints, Ints]:
    """Rows of rare names and of the frequent names that they are one slip away from."""
    most = named.groupby("type")["count"].transform("max")
    least = named.groupby("type")["count"].transform("min")
    words = (named["key"].str.len() >= _LEAST) & ~named["key"].str.contains(r"\d", regex=True)
    long = named[words & (_RARER * least <= most)]
    if not len(long):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    key, places = long["key"], range(int(long["key"].str.len().max()))
    shorter = [key.str.slice_replace(place, place + 1, "") for place in places]
    swapped = [
        key.str[:place] + key.str[place + 1] + key.str[place] + key.str[place + 2 :]
        for place in places[:-1]
    ]
    slips = pd.concat([long.assign(slip=each) for each in (*shorter, *swapped)])
    pairs = slips.merge(long, left_on=["type", "slip"], right_on=["type", "key"])
    pairs = pairs[pairs["row_x"] != pairs["row_y"]]
    ends = pairs[["row_x", "row_y"]].to_numpy(np.int64), pairs[["count_x", "count_y"]].to_numpy()
    rare = ends[1].argmin(1)
    each = np.arange(len(pairs))
    clear = _RARER * ends[1].min(1) <= ends[1].max(1)
    found = pd.DataFrame({"wrong": ends[0][each, rare], "right": ends[0][each, 1 - rare],
                          "count": ends[1].max(1)})[clear]  # fmt: skip
    found = found.sort_values(["wrong", "count", "right"], ascending=[True, False, True])
    found = found.drop_duplicates("wrong")
    return found["wrong"].to_numpy(), found["right"].to_numpy()


def same_products(pages: pd.DataFrame, attributes: pd.DataFrame) -> pd.DataFrame:
    """Products entered twice: equal in brand and attributes, nearly the same title and price.

    Titles are compared by the cosine of their pieces of two and three letters within words, so the
    order of words does not matter. A missing price is no objection; a leaf is no attribute, since
    it may be wrong.

    Args:
        pages: product (ascending), domain, title, price.
        attributes: of each product in ``pages`` the tail of each attribute, -1 where unknown.

    Returns:
        product, same_as (the lowest of its like), similarity (to its nearest like); copies only.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.preprocessing import normalize as unit

    codes = attributes.to_numpy()
    known = np.flatnonzero(((codes >= 0).sum(1) >= _KNOWN) & (pages["title"] != "").to_numpy())
    block = pages[["domain"]].assign(**{str(k): codes[:, k] for k in range(codes.shape[1])})
    groups = block.iloc[known].groupby(list(block), sort=False).ngroup().to_numpy(np.int64)
    first, second = (known[each] for each in pairs_within(groups))
    nothing = pd.DataFrame({"product": [], "same_as": [], "similarity": []})
    if not len(first):
        return nothing
    used, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    pieces = CountVectorizer(analyzer="char_wb", ngram_range=(2, 3), dtype=np.float64)
    vectors = unit(pieces.fit_transform(normalize(pages["title"].iloc[used])))
    left, right = places[: len(first)], places[len(first) :]
    similarity = np.asarray(vectors[left].multiply(vectors[right]).sum(1)).ravel()
    price = np.log(pages["price"].to_numpy(float))
    alike = (similarity >= _ALIKE) & ~(np.abs(price[first] - price[second]) > _PRICE_GAP)
    first, second, similarity = first[alike], second[alike], similarity[alike]
    if not len(first):
        return nothing
    edges = coo_array((np.ones(len(first)), (first, second)), shape=(len(pages), len(pages)))
    label = connected_components(edges, directed=False)[1]
    lowest = pd.Series(np.arange(len(pages))).groupby(label).transform("min").to_numpy()
    near = np.zeros(len(pages))
    np.maximum.at(near, first, similarity)
    np.maximum.at(near, second, similarity)
    copies = np.flatnonzero(lowest != np.arange(len(pages)))
    product = pages["product"].to_numpy()
    return pd.DataFrame(
        {"product": product[copies], "same_as": product[lowest[copies]], "similarity": near[copies]}
    )


def pairs_within(groups: NDArray[np.integer[Any]]) -> tuple[Ints, Ints]:
    """Rows of all pairs of one group, each pair once and its lower row first."""
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups, minlength=1)
    ends = np.repeat(sizes.cumsum(), sizes)
    later = ends - np.arange(len(groups)) - 1  # rows of its group that come after it
    first = np.repeat(np.arange(len(groups)), later)
    starts = np.repeat(later.cumsum() - later, later)
    second = first + 1 + np.arange(len(first)) - starts
    return order[first], order[second]
