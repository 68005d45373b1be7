"""Matrix factorisation: a short list of numbers for each user and for each item.

    score(u, i) = x_u . y_i

    DotProduct    minimise  a loss that ranks, see ``_factors``, by gradient descent; BPR is one
    ImplicitALS   minimise  sum over all u, i of c_ui (p_ui - x_u . y_i)^2
                            + sum_u lambda_u ||x_u||^2 + sum_i lambda_i ||y_i||^2
                  c_ui = 1 + alpha w_ui,  p_ui = 1 where w_ui > 0 and 0 elsewhere
                  lambda_u = regularization * (I + alpha sum_i w_ui)^exponent, lambda_i alike;
                  I counts the items with events

Source: Y. Hu, Y. Koren, C. Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM
2008; for the exponent S. Rendle, W. Krichene, L. Zhang, Y. Koren, Revisiting the Performance of
iALS on Item Recommendation Benchmarks, RecSys 2022.
Differences from the paper:
1. ``ImplicitALS``: a row with fewer than D entries is solved by a system of its own size in a basis
   shared by all rows (paper: one D x D system a row). The solution is the same.
2. ``ImplicitALS``: start values are normal with standard deviation 0.1 / sqrt(D), as in the 2022
   paper (2008 paper: not stated).
3. ``ImplicitALS``: with exponent 1 the penalties are those of the 2022 paper at alpha0 = 1 / alpha,
   but a taken pair aims at 1 with weight 1 + alpha (2022 paper: at 1 with alpha and at 0 with 1,
   hence at alpha / (1 + alpha)).
Chapter: collaborative/factorization
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from reclib.collaborative._factors import FactorNetwork, FactorScores, dot_scores, train_factors
from reclib.collaborative._least_squares import Basis, principal_axes, solve_rows
from reclib.foundations.interactions import Histories, Interactions
from reclib.foundations.recommender import Scores, checked_train, fitted
from reclib.foundations.training import History, Options

__all__ = ["BPR", "DotProduct", "ImplicitALS"]


def _check_count(name: str, value: int) -> None:
    if not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value}")


def _check_above_zero(name: str, value: float) -> None:
    if not 0 < value < np.inf:
        raise ValueError(f"{name} must be above 0 and finite, got {value}")


def _start(n_rows: int, size: int, seed: int, stream: int) -> NDArray[np.float32]:
    """(n_rows, size) small normal factors; the first rows are the same in a larger table."""
    draws = np.random.default_rng([seed, stream]).standard_normal((n_rows, size))
    return (draws * (0.1 / np.sqrt(size))).astype(np.float32)


class ImplicitALS(FactorScores):
    """Factors of implicit feedback, by alternating least squares over all pairs.

    Each half sweep solves for all users while the items stand still, or the reverse; each of these
    is a ridge regression with one exact solution, so the loss never rises. The last half sweep is
    over users: a user is what ``score_histories`` would make of the same history. The factors stand
    in the principal axes of the items, strongest first: ``item_factors_.T @ item_factors_`` is
    diagonal.

    A user or item without events, or with weights of 0 only, has zero factors and scores 0.

    Args:
        factors: D, >= 1.
        alpha: > 0; how much more a pair of weight 1 counts than an absent one.
        regularization: > 0.
        regularization_exponent: >= 0; 0 penalises all rows alike (2008), 1 in proportion to the
            weight of the data in the row (2022).
        sweeps: >= 1; users, then items, and so on.
        seed: of the start values.
    """

    def __init__(
        self,
        *,
        factors: int = 64,
        alpha: float = 10.0,
        regularization: float = 0.01,
        regularization_exponent: float = 0.0,
        sweeps: int = 15,
        seed: int = 0,
    ) -> None:
        self.factors = factors
        self.alpha = alpha
        self.regularization = regularization
        self.regularization_exponent = regularization_exponent
        self.sweeps = sweeps
        self.seed = seed

    def fit(self, train: Interactions) -> Self:
        """Alternate between users and items; weights of repeated pairs are summed."""
        _check_count("factors", self.factors)
        _check_count("sweeps", self.sweeps)
        _check_above_zero("alpha", self.alpha)
        _check_above_zero("regularization", self.regularization)
        if not 0 <= self.regularization_exponent < np.inf:
            raise ValueError(
                "regularization_exponent must be at least 0 and finite, "
                f"got {self.regularization_exponent}"
            )
        of_users = checked_train(train).matrix()
        of_items = of_users.T.tocsr()
        start = _start(train.n_items, self.factors, self.seed, 1)
        start[of_items.sum(axis=1) == 0] = 0  # what nobody took pulls nobody
        items = principal_axes(start)
        for _ in range(self.sweeps):
            users = principal_axes(self._solve(of_users, items))
            items = principal_axes(self._solve(of_items, users))
        self.item_factors_ = items.factors.numpy()
        self.user_factors_ = self._solve(of_users, items)
        return self

    def score_histories(self, histories: Histories, items: ArrayLike | None = None) -> Scores:
        """The same for unseen users: their factors solve the same equations (fold-in).

        Each event of a history weighs 1; an empty history scores 0.
        """
        factors = fitted(self, "item_factors_")
        strengths = np.square(factors, dtype=np.float64).sum(axis=0)  # the axes are principal
        basis = Basis(torch.from_numpy(factors), torch.from_numpy(strengths))
        queries = self._solve(histories.matrix(len(factors)), basis)
        return dot_scores(queries, factors, None, items)

    def _solve(self, weights: csr_array, basis: Basis) -> NDArray[np.float32]:
        """(B, D) factors of the rows (B, I) that fit the other side best."""
        extra = (self.alpha * weights).tocsr()
        extra.eliminate_zeros()
        total = int(basis.factors.any(dim=1).sum()) + extra.sum(axis=1)
        penalty = self.regularization * total**self.regularization_exponent
        return solve_rows(extra, 1 + extra.data, basis, penalty)


class DotProduct(FactorScores):
    """Factors of users and items, found by gradient descent on a loss that ranks.

    A user or item without events has zero factors and scores 0.

    Args:
        factors: D, >= 1.
        loss: "softmax": every event against all items; batches are users with all their events.
            "bpr": every event shall beat items that its user has not taken. "binary": events are
            to be told from such items.
        n_negatives: N items for each event, >= 1; unused by "softmax".
        regularization: lambda, the price of the squared factors behind each event, >= 0.
        temperature: None scores by the dot product; a number > 0 by the cosine, divided by it.
        training: epochs, batch size (users for "softmax", events otherwise), learning rate, ...
        seed: for the start values, the order of the data and the negatives.
    """

    loss: str
    temperature: float | None
    history_: History

    def __init__(
        self,
        *,
        factors: int = 64,
        loss: Literal["softmax", "bpr", "binary"] = "softmax",
        n_negatives: int = 1,
        regularization: float = 0.1,
        temperature: float | None = None,
        training: Options = Options(epochs=20, batch_size=512, learning_rate=0.01),
        seed: int = 0,
    ) -> None:
        self.factors = factors
        self.loss = loss
        self.n_negatives = n_negatives
        self.regularization = regularization
        self.temperature = temperature
        self.training = training
        self.seed = seed

    def fit(self, train: Interactions, *, validation: Interactions | None = None) -> Self:
        """Learn from ``train``; with ``validation``, nDCG@10 is watched, the best epoch kept."""
        network = FactorNetwork(
            checked_train(train).n_users,
            train.n_items,
            factors=self.factors,
            loss=self.loss,
            regularization=self.regularization,
            temperature=self.temperature,
            seed=self.seed,
        )
        self.history_ = train_factors(
            self,
            network,
            train,
            validation,
            training=self.training,
            n_negatives=self.n_negatives,
            seed=self.seed,
        )
        return self


class BPR(DotProduct):
    """Bayesian personalised ranking: ``DotProduct`` with ``loss="bpr"`` and defaults for pairs.

    Args:
        factors: D, >= 1.
        n_negatives: N items for each event, >= 1.
        regularization: lambda, the price of the squared factors behind each event, >= 0.
        training: epochs, batch size in events, learning rate, ...
        seed: for the start values, the order of the data and the negatives.
    """

    loss = "bpr"
    temperature = None

    def __init__(
        self,
        *,
        factors: int = 64,
        n_negatives: int = 1,
        regularization: float = 0.05,
        training: Options = Options(epochs=30, batch_size=2048, learning_rate=0.01),
        seed: int = 0,
    ) -> None:
        self.factors = factors
        self.n_negatives = n_negatives
        self.regularization = regularization
        self.training = training
        self.seed = seed
