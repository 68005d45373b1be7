"""Content: recommend what is made like the things you took, and mix that with what others took.

    x[i, f] = present(i, f) log(I / n[f])                      attributes, rare ones weigh more
    s(i, u) = sum over j of R[u, j] A[j, i]                    A[j, i] = cosine(x[j], x[i]), top K
    hybrid:  A = (1 - content_weight) A_neighbors + content_weight A_content

Source: P. Lops, M. de Gemmis, G. Semeraro, Content-based Recommender Systems, Recommender Systems
Handbook, 2011; the weighting is G. Salton, C. Buckley, Term-Weighting Approaches in Automatic Text
Retrieval, 1988.
Differences from the paper:
1. The profile of a user is not one mean vector: each item of the history votes for its own K
   neighbours, so that two tastes do not average to a third.
2. A rare attribute weighs log(I / n), never less than 0; an attribute that all items have says
   nothing.
Chapter: collaborative/content
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy.sparse import csr_array, sparray, spmatrix, vstack

from reclib.collaborative.neighbors import ItemKNN, similarities, top_per_row
from reclib.foundations.interactions import Interactions
from reclib.foundations.recommender import LinearScores, checked_train

__all__ = ["ContentKNN", "HybridKNN", "content_weights"]

_BLOCK = 1024  # items compared with all others at once; bounds memory where attributes are shared


def _checked_features(item_features: Any, n_items: int) -> csr_array:
    """Attributes as an (I, F) CSR matrix of finite numbers >= 0."""
    if item_features is None:
        raise ValueError("item_features must be given to a content model, got None")
    if not isinstance(item_features, sparray | spmatrix):
        item_features = np.atleast_2d(np.asarray(item_features))
    features = csr_array(item_features, dtype=np.float64)
    if features.shape[0] != n_items:
        raise ValueError(f"item_features must have {n_items} rows, got {features.shape[0]}")
    if not (np.isfinite(features.data).all() and (features.data >= 0).all()):
        raise ValueError("item_features must be finite and at least 0, got others")
    features.eliminate_zeros()
    return features


def content_weights(item_features: csr_array, n_neighbors: int) -> csr_array:
    """Cosine of TF-IDF weighted attributes, for the K most similar other items of each item.

    Args:
        item_features: (I, F) sparse, >= 0.
        n_neighbors: K, >= 1.

    Returns:
        (I, I) sparse float32; row j holds the neighbours of item j. An item without attributes has
        none.
    """
    n_items = item_features.shape[0]
    holders = np.bincount(item_features.indices, minlength=item_features.shape[1])
    rarity = np.log(n_items / np.maximum(holders, 1))
    weighted = item_features.copy()
    weighted.data *= rarity[weighted.indices]
    weighted.eliminate_zeros()
    blocks = []
    for start in range(0, n_items, _BLOCK):
        block = similarities(weighted[start : start + _BLOCK], weighted)
        blocks.append(top_per_row(block, n_neighbors, diagonal=start))
    return csr_array(vstack(blocks, format="csr"), dtype=np.float32)


class ContentKNN(LinearScores):
    """Score an item by how alike its attributes are to those of the items of the history.

    An item that nobody has taken yet is scored like any other; that is the point. A user without
    history scores 0 everywhere.

    Args:
        n_neighbors: K, the most similar items kept of each item, >= 1.
        seed: unused; nothing is random.
    """

    def __init__(self, *, n_neighbors: int = 100, seed: int = 0) -> None:
        self.n_neighbors = n_neighbors
        self.seed = seed

    def fit(self, train: Interactions, *, item_features: Any = None) -> Self:
        """Compare the attributes of all items; the events only give the histories.

        Args:
            train: the histories of the users.
            item_features: (I, F) sparse or dense, >= 0.
        """
        self.history_ = checked_train(train).matrix().astype(np.float32)
        features = _checked_features(item_features, train.n_items)
        self.item_weights_ = content_weights(features, self.n_neighbors)
        return self


class HybridKNN(LinearScores):
    """Neighbours by behaviour and neighbours by attributes, added with a weight.

    Where there is behaviour it speaks; an item without events is still reached by its attributes.

    Args:
        content_weight: share of the content, in [0, 1].
        n_neighbors: K of both kinds, >= 1.
        similarity, shrinkage: of the behaviour, as in ``ItemKNN``.
        seed: unused; nothing is random.
    """

    def __init__(
        self,
        *,
        content_weight: float = 0.5,
        n_neighbors: int = 100,
        similarity: str = "cosine",
        shrinkage: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.content_weight = content_weight
        self.n_neighbors = n_neighbors
        self.similarity = similarity
        self.shrinkage = shrinkage
        self.seed = seed

    def fit(self, train: Interactions, *, item_features: Any = None) -> Self:
        """Fit both kinds of neighbours and add their weights.

        Args:
            train: the histories of the users.
            item_features: (I, F) sparse or dense, >= 0.
        """
        if not 0 <= self.content_weight <= 1:
            raise ValueError(
                f"content_weight must be at least 0 and at most 1, got {self.content_weight}"
            )
        neighbors = ItemKNN(
            n_neighbors=self.n_neighbors, similarity=self.similarity, shrinkage=self.shrinkage
        ).fit(train)
        features = _checked_features(item_features, train.n_items)
        content = content_weights(features, self.n_neighbors)
        share = np.float32(self.content_weight)
        self.history_ = neighbors.history_
        self.item_weights_ = csr_array((1 - share) * neighbors.item_weights_ + share * content)
        return self
