"""Neighbours: items that the same people took, and people who took the same items.

    items:   s(i, u) = sum over j of R[u, j] A[j, i]    A[j, :] keeps the K items most like j
    people:  s(i, u) = sum over v of B[u, v] R[v, i]    B[u, :] keeps the K users most like u

    A[j, i] = c[j, i] / sqrt(n[j] n[i])  (cosine)    c: co-occurrences, n: squared norms
    A[j, i] = c[j, i] / (n[j] + n[i] - c[j, i])      (Jaccard, on presence)
    A[j, i] = correlation of columns j and i         (Pearson)
    each times c / (c + shrinkage), c counting the common users

Source: B. Sarwar, G. Karypis, J. Konstan, J. Riedl, Item-Based Collaborative Filtering
Recommendation Algorithms, WWW 2001; for people and for shrinking by overlap J. Herlocker,
J. Konstan, A. Borchers, J. Riedl, An Algorithmic Framework for Performing Collaborative Filtering,
SIGIR 1999.
Differences from the paper:
1. Pearson: the papers correlate over common raters only. Here: over common raters where ``ItemKNN``
   gets ratings; over all users, absence counting 0, for implicit feedback, where common raters have
   no variance.
2. Scores are sums, not averages weighted by similarity: averages rank badly for implicit feedback.
   ``predict`` averages, as the papers do.
3. Neighbours with a similarity of 0 or less are never kept (papers: any sign).
4. Each item of the history votes for its own K neighbours, as in the library implicit (paper: each
   scored item asks its own K); on dense ratings the paper's side is a little better.
Chapter: collaborative/neighbors
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from reclib.foundations.interactions import Histories, Ids, Interactions, checked_ids
from reclib.foundations.recommender import (
    LinearScores,
    Scores,
    checked_train,
    fitted,
    history_rows,
    linear_scores,
    pack,
    unpack,
)

__all__ = ["ItemKNN", "UserKNN", "similarities", "top_per_row"]

_KINDS = ("cosine", "jaccard", "pearson")


def _scale(matrix: csr_array, rows: NDArray[Any], columns: NDArray[Any]) -> csr_array:
    """diag(rows) @ matrix @ diag(columns), in place."""
    matrix.data *= np.repeat(rows, np.diff(matrix.indptr)) * columns[matrix.indices]
    return matrix


def _inverse(values: NDArray[Any]) -> NDArray[Any]:
    """1 / value, and 0 where the value is 0."""
    return np.divide(1.0, values, out=np.zeros_like(values, dtype=np.float64), where=values > 0)


def similarities(
    queries: csr_array, rows: csr_array, *, kind: str = "cosine", shrinkage: float = 0.0
) -> csr_array:
    """Similarity of each query row with each row of a matrix, where the two share a column.

    Args:
        queries: (B, D) sparse.
        rows: (N, D) sparse.
        kind: ``"cosine"``, ``"jaccard"`` (of the sets of columns) or ``"pearson"`` (absent entries
            count as 0).
        shrinkage: >= 0; similarities are multiplied by c / (c + shrinkage), c the number of common
            columns.

    Returns:
        (B, N) sparse float64.
    """
    if kind not in _KINDS:
        raise ValueError(f"similarity must be one of {', '.join(_KINDS)}, got {kind!r}")
    if shrinkage < 0:
        raise ValueError(f"shrinkage must be at least 0, got {shrinkage}")
    queries, rows = queries.astype(np.float64), rows.astype(np.float64)
    binary = [_binary(matrix) for matrix in (queries, rows)]
    common = None
    if kind == "jaccard" or shrinkage > 0:
        common = (binary[0] @ binary[1].T).tocsr()  # (B, N)
    if kind == "jaccard":
        assert common is not None
        sizes = [matrix.sum(axis=1) for matrix in binary]
        similarity = common.copy()
        union = np.repeat(sizes[0], np.diff(common.indptr)) + sizes[1][common.indices] - common.data
        similarity.data /= union
    elif kind == "cosine":
        similarity = (queries @ rows.T).tocsr()
        norms = [np.sqrt(matrix.power(2).sum(axis=1)) for matrix in (queries, rows)]
        similarity = _scale(similarity, _inverse(norms[0]), _inverse(norms[1]))
    else:
        similarity = _pearson(queries, rows)
    if common is not None and shrinkage > 0:
        # The two products share their pattern, but not always their order within a row.
        similarity.sort_indices()
        common.sort_indices()
        similarity.data *= common.data / (common.data + shrinkage)
    return similarity


def _binary(matrix: csr_array) -> csr_array:
    return csr_array(
        ((matrix.data != 0).astype(np.float64), matrix.indices, matrix.indptr), shape=matrix.shape
    )


def _pearson(queries: csr_array, rows: csr_array) -> csr_array:
    """Correlation with absent entries as 0; pairs without a common column cannot be positive."""
    n = rows.shape[1]
    similarity = (queries @ rows.T).tocsr()
    means = [matrix.sum(axis=1) / n for matrix in (queries, rows)]
    spreads = [
        np.sqrt(np.maximum(matrix.power(2).sum(axis=1) / n - mean**2, 0))
        for matrix, mean in zip((queries, rows), means, strict=True)
    ]
    expected = np.repeat(means[0], np.diff(similarity.indptr)) * means[1][similarity.indices]
    similarity.data = similarity.data / n - expected
    return _scale(similarity, _inverse(spreads[0]), _inverse(spreads[1]))


def _pearson_of_ratings(ratings: csr_array, shrinkage: float) -> csr_array:
    """(I, I) correlation of the columns over the users who rated both, shrunk by their number."""
    present = _binary(ratings)
    sums = (ratings.T @ present).tocsr()
    squares = (ratings.power(2).T @ present).tocsr()
    parts = [present.T @ present, ratings.T @ ratings, sums, sums.T, squares, squares.T]
    parts = [part.tocsr() for part in parts]
    for part in parts:
        part.sort_indices()  # one pattern for all, so that the values line up
    n, product, sum_j, sum_i, square_j, square_i = (part.data for part in parts)
    spread = np.sqrt(np.maximum((n * square_j - sum_j**2) * (n * square_i - sum_i**2), 0))
    correlation = (n * product - sum_j * sum_i) * _inverse(np.where(spread > 1e-9, spread, 0.0))
    shrunk = correlation * n / (n + shrinkage)
    return csr_array((shrunk, parts[0].indices, parts[0].indptr), shape=parts[0].shape)


def top_per_row(matrix: csr_array, k: int, *, diagonal: int | None = None) -> csr_array:
    """Only the ``k`` largest positive entries of each row; equal entries keep column order.

    Rows of similar length are padded and cut together, so the cost is that of a few dense ``topk``
    calls.

    Args:
        matrix: (N, M) sparse; its rows are sorted in place.
        k: entries to keep, >= 1.
        diagonal: the column that stands for row 0 itself, and so on; such entries are dropped.
    """
    if k < 1:
        raise ValueError(f"n_neighbors must be at least 1, got {k}")
    matrix.sort_indices()
    keep = matrix.data > 0
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    if diagonal is not None:
        keep &= rows + diagonal != matrix.indices
    data, columns, lengths = (
        matrix.data[keep],
        matrix.indices[keep],
        np.bincount(rows[keep], minlength=matrix.shape[0]),
    )
    starts = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    bucket = np.ceil(np.log2(np.maximum(lengths, 1))).astype(int)
    kept = np.ones(data.size, dtype=bool)
    for power in np.unique(bucket[lengths > k]):
        chosen = np.flatnonzero((bucket == power) & (lengths > k))
        kept &= ~_surplus(data, starts[chosen], lengths[chosen], k)
    counts = np.bincount(np.repeat(np.arange(lengths.size), lengths)[kept], minlength=lengths.size)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return csr_array((data[kept], columns[kept], indptr), shape=matrix.shape)


def _surplus(data: NDArray[Any], starts: Ids, lengths: Ids, k: int) -> NDArray[np.bool_]:
    """A mask over all entries: those of the given rows that are not among their ``k`` largest."""
    width = int(lengths.max())
    place = np.arange(width)
    valid = place < lengths[:, None]
    index = np.where(valid, starts[:, None] + place, 0)
    block = np.where(valid, data[index], -np.inf)  # (rows, width)
    level = torch.topk(torch.from_numpy(block), k, dim=1).values[:, -1:].numpy()
    above, equal = block > level, block == level
    free = k - np.count_nonzero(above, axis=1)
    stays = above | (equal & (np.cumsum(equal, axis=1, dtype=np.int32) <= free[:, None]))
    surplus = np.zeros(data.size, dtype=bool)
    surplus[index[valid & ~stays]] = True
    return surplus


class _Ratings:
    """Ratings and their means, for predictions that correct for kind and harsh raters."""

    def __init__(self, ratings: csr_array, axis: int) -> None:
        self.ratings, self.present, self.axis = ratings, _binary(ratings), axis
        counts = self.present.sum(axis=1 - axis)
        self.mean = float(ratings.data.mean())
        sums = ratings.sum(axis=1 - axis)
        self.means = np.where(counts > 0, sums * _inverse(counts), self.mean)  # (U,) or (I,)
        index = np.repeat(np.arange(ratings.shape[0]), np.diff(ratings.indptr))
        centre = self.means[index if axis == 0 else ratings.indices]
        self.centred = csr_array(
            (ratings.data - centre, ratings.indices, ratings.indptr), shape=ratings.shape
        )

    def predict(
        self, neighbors: csr_array, own: Ids, rows: csr_array, present: csr_array
    ) -> Scores:
        """(B,) own mean plus the weighted mean deviation over the neighbours."""
        weight = (neighbors * present).sum(axis=1)
        return self.means[own] + (neighbors * rows).sum(axis=1) * _inverse(weight)


class ItemKNN(LinearScores):
    """Score an item by its similarity to the items of the history.

    A user without history scores 0 everywhere, and so does an item without events.

    Args:
        n_neighbors: K, the most similar items kept of each item, >= 1.
        similarity: ``"cosine"``, ``"jaccard"`` or ``"pearson"``.
        shrinkage: >= 0; how many common users it takes to trust half of a similarity.
        seed: unused; nothing is random.
    """

    def __init__(
        self,
        *,
        n_neighbors: int = 100,
        similarity: str = "cosine",
        shrinkage: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.similarity = similarity
        self.shrinkage = shrinkage
        self.seed = seed

    def fit(self, train: Interactions) -> Self:
        """Find the neighbours of every item; ``"pearson"`` reads ratings where there are any."""
        history = checked_train(train).matrix()
        ratings = None if train.ratings is None else train.matrix("ratings")
        if self.similarity == "pearson" and ratings is not None:
            similarity = _pearson_of_ratings(ratings, self.shrinkage)
        else:
            columns = history.T.tocsr()  # (I, U)
            similarity = similarities(
                columns, columns, kind=self.similarity, shrinkage=self.shrinkage
            )
        weights = top_per_row(similarity, self.n_neighbors, diagonal=0)
        self.history_, self.ratings_ = history.astype(np.float32), ratings
        self.item_weights_ = weights.astype(np.float32)  # (I, I), row j: the neighbours of j
        return self

    def predict(self, users: ArrayLike, items: ArrayLike) -> Scores:
        """(B,) predicted ratings: the item's mean, moved by how the user rated its neighbours."""
        known = _Ratings(_fitted_ratings(self), axis=1)
        users, items = _pairs(users, items, known.ratings.shape)
        neighbors = csr_array(self.item_weights_.T)[items]  # (B, I): A[j, i] over j
        return known.predict(neighbors, items, known.centred[users], known.present[users])

    def state(self) -> dict[str, NDArray[Any]]:
        """What was learned, as arrays."""
        fitted(self, "item_weights_")
        return pack(self, "history_", "item_weights_", "ratings_")

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what was learned elsewhere."""
        unpack(self, state, "history_", "item_weights_", "ratings_")


class UserKNN:
    """Score an item by how many similar users took it.

    Similar users are found when scores are asked for, so an unseen user costs no more than a fitted
    one. Users with exactly the same items as the query have nothing new to tell and are no
    neighbours; so a user is never their own. A user without history scores 0 everywhere.

    Args:
        n_neighbors: K, the most similar users kept of each user, >= 1.
        similarity: ``"cosine"``, ``"jaccard"`` or ``"pearson"`` (absent items count as 0).
        shrinkage: >= 0; how many common items it takes to trust half of a similarity.
        seed: unused; nothing is random.
    """

    def __init__(
        self,
        *,
        n_neighbors: int = 100,
        similarity: str = "cosine",
        shrinkage: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.similarity = similarity
        self.shrinkage = shrinkage
        self.seed = seed

    def fit(self, train: Interactions) -> Self:
        """Keep the user-item matrix, and the ratings where there are any."""
        self.history_ = checked_train(train).matrix()
        self.ratings_ = None if train.ratings is None else train.matrix("ratings")
        self.neighbors(
            Histories.from_lists([[]])
        )  # a wrong option shows now, not at the first score
        return self

    def neighbors(self, queries: ArrayLike | Histories) -> csr_array:
        """(B, U) similarity to the K nearest users, for fitted users or for histories."""
        history = fitted(self, "history_")
        rows = history_rows(history, queries)
        similarity = similarities(rows, history, kind=self.similarity, shrinkage=self.shrinkage)
        asked, known = _binary(rows), _binary(history)
        common = (asked @ known.T).tocsr()
        sizes = [matrix.sum(axis=1) for matrix in (asked, known)]
        most = np.maximum(np.repeat(sizes[0], np.diff(common.indptr)), sizes[1][common.indices])
        common.data = (common.data < most).astype(np.float64)
        return top_per_row((similarity * common).tocsr(), self.n_neighbors)

    def score(self, users: ArrayLike, items: ArrayLike | None = None) -> Scores:
        """(B, I) float32 scores of fitted users, or (B, C) for candidates."""
        return linear_scores(self.neighbors(users), self.history_, items)

    def score_histories(self, histories: Histories, items: ArrayLike | None = None) -> Scores:
        """The same for unseen users."""
        return linear_scores(self.neighbors(histories), self.history_, items)

    def predict(self, users: ArrayLike, items: ArrayLike) -> Scores:
        """(B,) predicted ratings: the user's mean, moved by how neighbours rated the item."""
        known = _Ratings(_fitted_ratings(self), axis=0)
        users, items = _pairs(users, items, known.ratings.shape)
        asked, place = np.unique(users, return_inverse=True)
        neighbors = self.neighbors(asked)[place]  # (B, U)
        centred, present = (m.T.tocsr()[items] for m in (known.centred, known.present))
        return known.predict(neighbors, users, centred, present)

    def state(self) -> dict[str, NDArray[Any]]:
        """What was learned, as arrays."""
        fitted(self, "history_")
        return pack(self, "history_", "ratings_")

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what was learned elsewhere."""
        unpack(self, state, "history_", "ratings_")


def _fitted_ratings(model: object) -> csr_array:
    fitted(model, "history_")
    ratings: csr_array | None = getattr(model, "ratings_", None)
    if ratings is None:
        raise ValueError("train must have ratings to predict them, got none")
    return ratings


def _pairs(users: ArrayLike, items: ArrayLike, shape: tuple[int, ...]) -> tuple[Ids, Ids]:
    users, items = checked_ids(users, "users", shape[0]), checked_ids(items, "items", shape[1])
    if users.shape != items.shape:
        raise ValueError(f"items must have shape {users.shape}, got {items.shape}")
    return users, items
