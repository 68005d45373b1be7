"""Matrix factorisation: a short list of numbers for each user and for each item.

    score(u, i) = x_u . y_i

    DotProduct    minimise  a loss that ranks, see ``_factors``, by gradient descent; BPR is one
    MatrixFactorization     score(u, i) = mu + b_u + b_i + x_u . y_i
                  minimise  sum over rated u, i of (r_ui - score(u, i))^2
                            + lambda (||x_u||^2 + b_u^2 + ||y_i||^2 + b_i^2)
    ImplicitALS   minimise  sum over all u, i of c_ui (p_ui - x_u . y_i)^2
                            + sum_u lambda_u ||x_u||^2 + sum_i lambda_i ||y_i||^2
                  c_ui = 1 + alpha w_ui,  p_ui = 1 where w_ui > 0 and 0 elsewhere
                  lambda_u = regularization * (I + alpha sum_i w_ui)^exponent, lambda_i alike;
                  I counts the items with events

Source: Y. Hu, Y. Koren, C. Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM
2008; for the exponent S. Rendle, W. Krichene, L. Zhang, Y. Koren, Revisiting the Performance of
iALS on Item Recommendation Benchmarks, RecSys 2022. Ratings: Y. Zhou, D.
Wilkinson, R. Schreiber, R. Pan, Large-Scale Parallel Collaborative Filtering for the Netflix Prize,
AAIM 2008; biases as in Y. Koren, R. Bell, C. Volinsky, Matrix Factorization Techniques for
Recommender Systems, IEEE Computer 2009.
Differences from the paper:
1. ``ImplicitALS``: a row with fewer than D entries is solved by a system of its own size in a basis
   shared by all rows (paper: one D x D system a row). The solution is the same.
2. ``ImplicitALS``: start values are normal with standard deviation 0.1 / sqrt(D), as in the 2022
   paper (2008 paper: not stated).
3. ``ImplicitALS``: with exponent 1 the penalties are those of the 2022 paper at alpha0 = 1 / alpha,
   but a taken pair aims at 1 with weight 1 + alpha (2022 paper: at 1 with alpha and at 0 with 1,
   hence at alpha / (1 + alpha)).
4. ``MatrixFactorization``: mean and biases stand beside the factors, a bias being the weight of a
   factor that is 1 on the other side (Zhou et al.: factors only, the first starting at the item's
   mean rating). As there, a row is penalised once for each of its ratings.
Chapter: collaborative/factorization
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from reclib.collaborative._factors import FactorNetwork, FactorScores, dot_scores, train_factors
from reclib.collaborative._least_squares import Basis, principal_axes, solve_rows
from reclib.collaborative._ratings import RatingNetwork, alternate
from reclib.foundations.batching import Rows
from reclib.foundations.interactions import Histories, Interactions, checked_ids
from reclib.foundations.networks import embedding_table
from reclib.foundations.recommender import Scores, checked_train, fitted, pack, unpack
from reclib.foundations.training import History, Options, fit

__all__ = ["BPR", "DotProduct", "ImplicitALS", "MatrixFactorization"]


def _check_count(name: str, value: int) -> None:
    if not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value}")


def _check_above_zero(name: str, value: float) -> None:
    if not 0 < value < np.inf:
        raise ValueError(f"{name} must be above 0 and finite, got {value}")


def _start(n_rows: int, size: int, factors: int, seed: int) -> NDArray[np.float32]:
    """(n_rows, size) small normal numbers; the first rows are the same in a larger table."""
    std = 0.1 / np.sqrt(factors)
    table = embedding_table(n_rows, size, std=std, seed=seed, stream=1)
    return table.weight.detach().numpy().copy()


class MatrixFactorization(FactorScores):
    """Ratings as mean, biases and factors, fitted to what was rated and to nothing else.

    A user or item without ratings has zero factors and bias, so its ratings are predicted by what
    is known of the other side. Of a pair rated twice the latest rating counts.

    Args:
        factors: D, >= 1.
        solver: "als" solves for all users, then for all items, each row exactly; "sgd" takes
            gradient steps on the same loss.
        regularization: lambda, > 0, once for each rating of a row.
        sweeps: >= 1, for "als".
        training: epochs, batch size in ratings, learning rate, ..., for "sgd".
        seed: of the start values and the order of the data.
    """

    history_: History | None = None

    def __init__(
        self,
        *,
        factors: int = 20,
        solver: Literal["als", "sgd"] = "als",
        regularization: float = 0.12,
        sweeps: int = 15,
        training: Options = Options(epochs=30, batch_size=1024, learning_rate=0.01),
        seed: int = 0,
    ) -> None:
        self.factors = factors
        self.solver = solver
        self.regularization = regularization
        self.sweeps = sweeps
        self.training = training
        self.seed = seed

    def fit(self, train: Interactions, *, validation: Interactions | None = None) -> Self:
        """Learn from the ratings of ``train``.

        Args:
            train: with ratings.
            validation: with ratings, for "sgd": their RMSE is watched, the best epoch kept.
        """
        _check_count("factors", self.factors)
        _check_count("sweeps", self.sweeps)
        _check_above_zero("regularization", self.regularization)
        if self.solver not in ("als", "sgd"):
            raise ValueError(f"solver must be 'als' or 'sgd', got {self.solver!r}")
        if self.solver == "als" and validation is not None:
            raise ValueError("validation must be None for solver 'als', got Interactions")
        _checked_ratings(checked_train(train), "train")
        ratings = train.matrix("ratings")
        self.mean_ = np.array(ratings.data.mean())
        ratings.data -= self.mean_
        self.history_ = None
        if self.solver == "als":
            start = _start(train.n_items, self.factors + 1, self.factors, self.seed)
            start[:, -1] = 0  # the items' biases
            self._take(*alternate(ratings, start, self.regularization, self.sweeps))
        else:
            self._descend(ratings, validation)
        return self

    def predict(self, users: ArrayLike, items: ArrayLike) -> Scores:
        """(B,) predicted ratings of B pairs; they may leave the scale."""
        factors = fitted(self, "user_factors_")
        users = checked_ids(users, "users", len(factors))
        items = checked_ids(items, "items", len(self.item_factors_))
        if users.shape != items.shape:
            raise ValueError(f"items must have shape {users.shape}, got {items.shape}")
        return self.score(users, items[:, None])[:, 0]

    def score(self, users: ArrayLike, items: ArrayLike | None = None) -> Scores:
        """(B, I) predicted ratings of fitted users, or (B, C) for the candidates (B, C)."""
        scores = super().score(users, items)
        return scores + (np.float32(self.mean_) + self.user_bias_[np.asarray(users)])[:, None]

    def state(self) -> dict[str, NDArray[Any]]:
        """What was learned, as arrays."""
        return super().state() | pack(self, "user_bias_", "mean_")

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what was learned elsewhere."""
        super().set_state(state)
        unpack(self, state, "user_bias_", "mean_")

    def _take(self, users: NDArray[np.float32], items: NDArray[np.float32]) -> None:
        """Take up factors with the bias in the last column."""
        self.user_factors_, self.user_bias_ = users[:, :-1].copy(), users[:, -1].copy()
        self.item_factors_, self.item_bias_ = items[:, :-1].copy(), items[:, -1].copy()

    def _descend(self, ratings: csr_array, validation: Interactions | None) -> None:
        """The same loss by gradient steps on batches of ratings."""
        n_users, n_items = ratings.shape
        network = RatingNetwork(
            n_users,
            n_items,
            factors=self.factors,
            regularization=self.regularization,
            seed=self.seed,
        )
        counts = np.diff(ratings.indptr), np.bincount(ratings.indices, minlength=n_items)
        batches = Rows(
            np.repeat(np.arange(n_users), counts[0]),
            ratings.indices.astype(np.int64),
            ratings.data.astype(np.float32),
            batch_size=self.training.batch_size,
            seed=self.seed,
        )

        def take() -> None:
            tables = network.users.weight, network.items.weight
            users, items = (table.detach().float().cpu().numpy() for table in tables)
            self._take(*(t * (n > 0)[:, None] for t, n in zip((users, items), counts, strict=True)))

        watch: Callable[[], Mapping[str, float]] | None = None
        if validation is not None:
            pairs = validation.users, validation.items
            held = _checked_ratings(validation, "validation")

            def watch() -> Mapping[str, float]:
                take()
                error = np.sqrt(np.square(self.predict(*pairs) - held).mean())
                return {"negative rmse": -float(error)}

        self.history_ = fit(network, batches, replace(self.training, seed=self.seed), watch)
        take()


def _checked_ratings(events: Interactions, name: str) -> NDArray[np.float64]:
    """(n,) the ratings of the events, of which there must be some."""
    if events.ratings is None or len(events) == 0:
        raise ValueError(f"{name} must have ratings, got none")
    return events.ratings


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
        start = _start(train.n_items, self.factors, self.factors, self.seed)
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
