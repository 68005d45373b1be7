"""The recommender contract, and the few lines that every model would otherwise repeat.

    score(u, i) = sum over j of R[u, j] W[j, i]     for every model that is linear in the history

A model is any object with ``fit`` and ``score``; there is no base class for that. Its options are
keyword arguments of the constructor, what it learned are attributes that end in an underscore.
``LinearScores`` holds the methods of the models that obey the formula above.

Source: the contract follows scikit-learn's estimators (fit, trailing underscore).
Differences from the paper: none.
Chapter: foundations/first_recommender
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from reclib.foundations.interactions import Histories, Ids, Interactions, checked_ids

__all__ = [
    "LinearScores",
    "Recommendations",
    "Recommender",
    "Scores",
    "blocks",
    "checked_candidates",
    "checked_scores",
    "checked_train",
    "fitted",
    "history_rows",
    "linear_scores",
    "mask_scores",
    "pack",
    "recommend",
    "take_candidates",
    "unpack",
]

Scores = NDArray[np.floating[Any]]
_BLOCK_CELLS = 2_000_000  # scores held at once: 8 MB in float32


class Recommender(Protocol):
    """What every recommender can do; higher scores are better, unknown ids raise."""

    def fit(self, train: Interactions) -> Self:
        """Learn from ``train``; a second call starts afresh."""
        ...

    def score(self, users: ArrayLike, items: ArrayLike | None = None) -> Scores:
        """(B, I) scores of the whole catalogue, or (B, C) of the candidates ``items`` (B, C)."""
        ...


def fitted(model: object, attribute: str) -> Any:
    """What a model learned, or an error that says to fit it first."""
    value = getattr(model, attribute, None)
    if value is None:
        raise ValueError(f"{type(model).__name__} must be fitted before it scores, got no fit")
    return value


def checked_train(train: Interactions) -> Interactions:
    """``train`` itself, if a model can learn from it: it needs at least one event."""
    if not isinstance(train, Interactions):
        raise ValueError(f"train must be Interactions, got {type(train).__name__}")
    if len(train) == 0:
        raise ValueError("train must hold at least one event, got 0")
    return train


def history_rows(history: csr_array, queries: ArrayLike | Histories) -> csr_array:
    """(B, I) rows of the user-item matrix: of fitted users, or made from the histories of anybody.

    Args:
        history: (U, I) as fitted.
        queries: (B,) user ids below U, or Histories of items below I.
    """
    n_users, n_items = history.shape
    if isinstance(queries, Histories):
        return queries.matrix(n_items).astype(history.dtype)
    return history[checked_ids(queries, "users", n_users)]


def checked_candidates(items: ArrayLike, n_rows: int, n_items: int) -> Ids:
    """Candidates as a (B, C) array of item ids, one row for each of B rows."""
    candidates = np.asarray(items)
    if candidates.ndim != 2 or len(candidates) != n_rows:
        raise ValueError(f"items must have shape ({n_rows}, C), got {candidates.shape}")
    return checked_ids(candidates.ravel(), "items", n_items).reshape(candidates.shape)


def take_candidates(scores: Scores, items: ArrayLike | None) -> Scores:
    """Full scores (B, I), or the columns of the candidates (B, C) of each row."""
    if items is None:
        return scores
    return np.take_along_axis(scores, checked_candidates(items, *scores.shape), axis=1)


def linear_scores(
    rows: csr_array, weights: csr_array | Scores, items: ArrayLike | None = None
) -> Scores:
    """Rows (B, I) times item weights (I, I), sparse or dense, as float32 (B, I) or (B, C)."""
    product = rows.astype(weights.dtype) @ weights
    dense = product if isinstance(product, np.ndarray) else product.toarray()
    return take_candidates(dense.astype(np.float32, copy=False), items)


class LinearScores:
    """The methods of every model whose scores are a sum over the history.

    ``fit`` sets two attributes: ``history_`` (U, I) sparse float32, and ``item_weights_`` (I, I)
    float32, sparse or dense, whose row j says what an event with item j is worth for every item.
    """

    history_: csr_array
    item_weights_: csr_array | Scores

    def score(self, users: ArrayLike, items: ArrayLike | None = None) -> Scores:
        """(B, I) float32 scores of fitted users, or (B, C) for the candidates ``items`` (B, C)."""
        weights = fitted(self, "item_weights_")
        return linear_scores(history_rows(self.history_, users), weights, items)

    def score_histories(self, histories: Histories, items: ArrayLike | None = None) -> Scores:
        """The same for unseen users, from their histories."""
        weights = fitted(self, "item_weights_")
        return linear_scores(history_rows(self.history_, histories), weights, items)

    def state(self) -> dict[str, NDArray[Any]]:
        """What was learned, as arrays."""
        fitted(self, "item_weights_")
        return pack(self, "history_", "item_weights_")

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what was learned elsewhere."""
        unpack(self, state, "history_", "item_weights_")


_CSR = ("data", "indices", "indptr")


def pack(model: object, *attributes: str) -> dict[str, NDArray[Any]]:
    """Attributes of a model as named arrays for ``state()``; a CSR matrix becomes four of them."""
    state: dict[str, NDArray[Any]] = {}
    for name in attributes:
        value: Any = getattr(model, name)
        if hasattr(value, "tocsr"):  # any sparse matrix
            value = value.tocsr()
            state |= {f"{name}.{part}": getattr(value, part) for part in _CSR}
            state[f"{name}.shape"] = np.array(value.shape, dtype=np.int64)
        elif value is not None:
            state[name] = np.asarray(value)
    return state


def unpack(model: object, state: Mapping[str, NDArray[Any]], *attributes: str) -> None:
    """The inverse of ``pack``; what was None stays None."""
    for name in attributes:
        value: Any = state.get(name)
        if f"{name}.shape" in state:
            n, m = (int(size) for size in state[f"{name}.shape"])
            value = csr_array(tuple(state[f"{name}.{part}"] for part in _CSR), shape=(n, m))
        setattr(model, name, value)


def checked_scores(scores: Any, n_rows: int, width: int | None) -> Scores:
    """Scores as a (B, width) array without NaN."""
    array = np.asarray(scores)
    if array.ndim != 2 or len(array) != n_rows or (width is not None and array.shape[1] != width):
        expected = f"({n_rows}, {'I' if width is None else width})"
        raise ValueError(f"scores must have shape {expected}, got {array.shape}")
    if np.isnan(array.sum()) and np.isnan(array).any():
        raise ValueError("scores must not be NaN, got NaN")
    return array


def blocks(n_rows: int, width: int, batch_size: int | None) -> Iterator[slice]:
    """Slices over the rows, each of so many that their scores take little memory."""
    size = batch_size or max(1, _BLOCK_CELLS // max(width, 1))
    return (slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size))


def mask_scores(scores: Scores, exclude: Histories) -> Scores:
    """Scores with the excluded items at -inf; the model's own array is left alone."""
    if exclude.items.size == 0:
        return scores
    masked = np.array(scores, dtype=np.result_type(scores.dtype, np.float32))
    masked[exclude.rows, checked_ids(exclude.items, "exclude", scores.shape[1])] = -np.inf
    return masked


class Recommendations(NamedTuple):
    """Lists of recommended items, best first.

    Attributes:
        items: (B, k) int64; -1 where no allowed item is left.
        scores: (B, k) float; -inf there.
    """

    items: Ids
    scores: Scores


def recommend(
    model: Any,
    users: ArrayLike | None = None,
    *,
    k: int,
    histories: Histories | None = None,
    exclude: Interactions | Histories | None = None,
    batch_size: int | None = None,
) -> Recommendations:
    """The ``k`` best items for each fitted user, or for each history of somebody unseen.

    Equal scores: the lower id stands first.

    Args:
        model: a fitted recommender.
        users: (B,) fitted users; None where ``histories`` are given.
        k: length of the lists, >= 1; it may exceed the catalogue.
        histories: B rows to score from, instead of users.
        exclude: what may not be recommended: interactions (the items of each user), or histories
            (one row a list).
        batch_size: rows scored at once; None chooses by the size of the catalogue.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if (users is None) == (histories is None):
        raise ValueError("users or histories must be given, not both, got both or neither")
    known = None if users is None else checked_ids(users, "users")
    n = len(histories or ()) if known is None else known.size
    masked = _exclusions(exclude, known, n)
    items = np.full((n, k), -1, dtype=np.int64)
    scores = np.full((n, k), -np.inf, dtype=np.float32)
    for block in blocks(n, 20_000, batch_size):
        rows = np.arange(block.start, block.stop)
        if histories is not None:
            given = model.score_histories(histories.select(rows))
        else:
            given = model.score(rows if known is None else known[rows])
        given = checked_scores(given, rows.size, None)
        if masked is not None:
            given = mask_scores(given, masked.select(rows))
        top = min(k, given.shape[1])
        items[block, :top], scores[block, :top] = _top(given, top)
    items[np.isneginf(scores)] = -1
    return Recommendations(items, scores)


def _exclusions(
    exclude: Interactions | Histories | None, users: Ids | None, n: int
) -> Histories | None:
    if isinstance(exclude, Interactions):
        if users is None:
            raise ValueError("exclude must be histories where no users are given, got Interactions")
        return exclude.histories().select(users)
    if exclude is not None and len(exclude) != n:
        raise ValueError(f"exclude must have {n} rows, got {len(exclude)}")
    return exclude


def _top(scores: Scores, k: int) -> tuple[Ids, Scores]:
    """The ``k`` highest scores of each row and their columns; equal scores keep column order."""
    scores = np.require(scores, requirements=["C", "W"])  # torch wants an array it could write to
    values, columns = torch.topk(torch.from_numpy(scores), k, sorted=False)
    worst = values.min(dim=1, keepdim=True).values.numpy()
    ids = np.sort(columns.numpy(), axis=1)
    # Where the last place is tied, topk takes any of the tied columns: take the first ones instead.
    tied = np.flatnonzero(np.count_nonzero(scores >= worst, axis=1) > k)
    if tied.size:
        part, level = scores[tied], worst[tied]
        above, equal = part > level, part == level
        free = k - np.count_nonzero(above, axis=1)
        chosen = above | (equal & (np.cumsum(equal, axis=1, dtype=np.int32) <= free[:, None]))
        ids[tied] = np.nonzero(chosen)[1].reshape(tied.size, k)
    best = np.take_along_axis(scores, ids, axis=1)
    order = np.argsort(-best, axis=1, kind="stable")
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(best, order, axis=1)
