"""Ratings of films with titles, genres and people's profiles: ml-100k.

    r(u, i) in {1, ..., 5} at time t;   X = [genre | decade],   Z = [age band | gender | occupation]

Source: F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4),
2015; the files are RecBole's copy.
Differences from the paper: 1. films and people are tables with typed headers and genres in words,
as RecBole writes them, instead of the original's 19 columns of zeros and ones.
Chapter: foundations/interactions
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from reclib.datasets.dataset import Dataset
from reclib.datasets.parsing import bad_line, read_numbers, read_table
from reclib.foundations.interactions import IdMap, Interactions

__all__ = ["load_ml_100k"]

Ids = NDArray[np.int64]

_INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
_ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
_USER = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token"


def load_ml_100k(name: str, files: Mapping[str, Path]) -> Dataset:
    """RecBole's atomic files: ratings, films and people, tab-separated with a typed header."""
    films, items = _by_id(files["ml-100k.item"], _ITEM, "item_id")
    people, users = _by_id(files["ml-100k.user"], _USER, "user_id")
    year = pd.to_numeric(films["release_year"], errors="coerce")  # two films have none
    genres = films["class"].str.get_dummies(" ").add_prefix("genre=")
    decade = pd.get_dummies(_decade(year), prefix="decade", prefix_sep="=")
    item_columns = pd.concat([genres, decade], axis=1)
    age = people["age"].astype(np.int64)
    profile = people[["gender", "occupation"]].assign(age=_decade(age))
    user_columns = pd.get_dummies(profile, prefix_sep="=")
    return Dataset(
        name,
        _ratings(files["ml-100k.inter"], users, items),
        item_features=csr_array(item_columns.to_numpy(dtype=np.float64)),
        user_features=csr_array(user_columns.to_numpy(dtype=np.float64)),
        users=IdMap(users),
        items=IdMap(items),
        tables={
            "items": pd.DataFrame(
                {
                    "item": range(items.size),
                    "title": films["movie_title"],
                    "year": year.astype("Int64"),
                    "genres": films["class"],
                }
            ),
            "users": pd.DataFrame(
                {
                    "user": range(users.size),
                    "age": age,
                    "gender": people["gender"],
                    "occupation": people["occupation"],
                    "zip_code": people["zip_code"],
                }
            ),
        },
        item_feature_names=tuple(item_columns.columns),
        user_feature_names=tuple(user_columns.columns),
    )


def _decade(numbers: pd.Series) -> pd.Series:
    """``1994`` and ``24`` as ``"1990s"`` and ``"20s"``; ``"unknown"`` where there is none."""
    tens = (numbers // 10 * 10).astype("Int64").astype("string")
    return (tens + "s").fillna("unknown")


def _ratings(path: Path, users: Ids, items: Ids) -> Interactions:
    columns = ("users", "items", "ratings", "timestamps")
    values, _ = read_numbers(path, columns, header=_INTER)
    numbers = values.astype(np.int64).reshape(-1, 4)
    for column, published in enumerate((users, items)):
        known = np.isin(numbers[:, column], published)
        if not known.all():
            row = int(np.argmin(known))
            table = ("ml-100k.user", "ml-100k.item")[column]
            raise bad_line(
                path, row + 2, columns[column], f"stand in {table}", numbers[row, column]
            )
    return Interactions(
        np.searchsorted(users, numbers[:, 0]),
        np.searchsorted(items, numbers[:, 1]),
        ratings=numbers[:, 2],
        timestamps=numbers[:, 3],
        n_users=users.size,
        n_items=items.size,
    )


def _by_id(path: Path, header: str, key: str) -> tuple[pd.DataFrame, Ids]:
    """A table in the order of its published ids, and these ids."""
    table = read_table(path, header, integers=(key, "age"))
    ids = table[key].astype(np.int64)
    again = ids.duplicated().to_numpy()
    if again.any():
        row = int(np.argmax(again))
        raise bad_line(path, row + 2, key, "stand on one line only", ids[row])
    order = ids.argsort().to_numpy()
    return table.iloc[order].reset_index(drop=True), np.asarray(ids, dtype=np.int64)[order]
