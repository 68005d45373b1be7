"""What models of factors share: scores, losses, penalty, and the way from a network to a model."""

import numpy as np
import pytest
import torch

from reclib.collaborative._factors import FactorNetwork, FactorScores, dot_scores, train_factors
from reclib.foundations.batching import PairBatch, UserBatch
from reclib.foundations.interactions import Interactions
from reclib.foundations.training import Options
from tests.contracts import planted, random_interactions

USERS, ITEMS, FACTORS = 7, 5, 3


def network(loss: str, regularization: float = 0.0) -> FactorNetwork:
    made = FactorNetwork(
        USERS, ITEMS, factors=FACTORS, loss=loss, regularization=regularization, std=1.0, seed=4
    )
    return made.double()


def tables(made: FactorNetwork) -> tuple[np.ndarray, np.ndarray]:
    return made.users.weight.detach().numpy(), made.items.weight.detach().numpy()


def pairs() -> PairBatch:
    return PairBatch(
        torch.tensor([6, 0, 6, 2]),
        torch.tensor([1, 4, 0, 0]),
        torch.tensor([[2, 3], [0, 0], [4, 2], [3, 1]]),
    )


def rows() -> UserBatch:
    """User 5 took 0 and 3, user 1 took 4 twice."""
    return UserBatch(torch.tensor([5, 1]), torch.tensor([0, 0, 1, 1]), torch.tensor([0, 3, 4, 4]))


def slow_pairs(made: FactorNetwork, one) -> float:
    users, items = tables(made)
    losses = []
    for user, positive, negatives in zip(*(part.tolist() for part in pairs()), strict=True):
        for negative in negatives:
            losses.append(one(users[user] @ items[positive], users[user] @ items[negative]))
    return float(np.mean(losses))


def test_bpr_is_the_mean_of_log_sigmoids_of_differences() -> None:
    made = network("bpr")
    expected = slow_pairs(made, lambda s, t: np.log1p(np.exp(t - s)))
    assert made.loss(pairs()).item() == pytest.approx(expected, rel=1e-12)


def test_binary_counts_every_label_once() -> None:
    made = network("binary")
    users, items = tables(made)
    losses = []
    for user, positive, negatives in zip(*(part.tolist() for part in pairs()), strict=True):
        losses.append(np.log1p(np.exp(-users[user] @ items[positive])))
        losses += [np.log1p(np.exp(users[user] @ items[negative])) for negative in negatives]
    assert made.loss(pairs()).item() == pytest.approx(np.mean(losses), rel=1e-12)


def test_softmax_is_cross_entropy_of_each_event_over_all_items() -> None:
    made = network("softmax")
    users, items = tables(made)
    batch = rows()
    losses = []
    for row, item in zip(batch.rows.tolist(), batch.items.tolist(), strict=True):
        logits = items @ users[batch.users[row]]
        losses.append(np.log(np.exp(logits).sum()) - logits[item])
    assert made.loss(batch).item() == pytest.approx(np.mean(losses), rel=1e-12)


def test_a_temperature_scores_by_the_cosine() -> None:
    made = FactorNetwork(USERS, ITEMS, factors=FACTORS, std=1.0, temperature=0.2, seed=4)
    users, items = tables(made)
    cosine = [[u @ i / np.sqrt((u @ u) * (i @ i)) for i in items] for u in users]
    found = made()[0] @ made()[1].T
    np.testing.assert_allclose(found.detach().numpy(), np.array(cosine) / 0.2, rtol=1e-5)
    batch = rows()
    losses = []
    for row, item in zip(batch.rows.tolist(), batch.items.tolist(), strict=True):
        logits = np.array(cosine[batch.users[row]]) / 0.2
        losses.append(np.log(np.exp(logits).sum()) - logits[item])
    assert made.loss(batch).item() == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_the_penalty_counts_the_rows_behind_each_event(loss: str) -> None:
    free, priced = network(loss), network(loss, regularization=0.3)
    users, items = tables(free)
    if loss == "softmax":
        batch = rows()
        used = [*users[batch.users[batch.rows].numpy()], *items[batch.items.numpy()]]
    else:
        batch = pairs()
        taken = np.concatenate([batch.positives.numpy(), batch.negatives.numpy().ravel()])
        used = [*users[batch.users.numpy()], *items[taken]]
    expected = 0.15 * sum(float(row @ row) for row in used) / 4  # four events
    found = (priced.loss(batch) - free.loss(batch)).item()
    assert found == pytest.approx(expected, rel=1e-10)


def test_the_gradient_of_bpr_is_the_one_of_the_paper() -> None:
    made = network("bpr")
    users, items = tables(made)
    batch = PairBatch(torch.tensor([3]), torch.tensor([2]), torch.tensor([[4]]))
    made.loss(batch).backward()
    share = 1 / (1 + np.exp(users[3] @ (items[2] - items[4])))
    assert made.users.weight.grad is not None and made.items.weight.grad is not None
    np.testing.assert_allclose(made.users.weight.grad[3], -share * (items[2] - items[4]))
    np.testing.assert_allclose(made.items.weight.grad[2], -share * users[3])
    np.testing.assert_allclose(made.items.weight.grad[4], share * users[3])
    assert made.users.weight.grad.abs().sum(1).count_nonzero() == 1


@pytest.mark.parametrize("bias", [None, np.arange(5, dtype=np.float32)])
def test_scores_of_candidates_are_those_of_the_catalogue(bias) -> None:
    generator = np.random.default_rng(0)
    queries, items = (generator.normal(size=(n, 3)).astype(np.float32) for n in (2, 5))
    full = np.array([[q @ i for i in items] for q in queries]) + (0 if bias is None else bias)
    np.testing.assert_allclose(dot_scores(queries, items, bias, None), full, rtol=1e-5)
    candidates = np.array([[4, 0, 4], [1, 2, 3]])
    found = dot_scores(queries, items, bias, candidates)
    np.testing.assert_allclose(found, np.take_along_axis(full, candidates, axis=1), rtol=1e-5)


class Model(FactorScores):
    """Nothing but its factors."""


def trained(loss: str, train: Interactions, validation: Interactions | None = None, **options):
    model = Model()
    made = FactorNetwork(train.n_users, train.n_items, factors=8, loss=loss, std=0.1, seed=0)
    training = Options(batch_size=16, learning_rate=0.05, **options)
    return model, train_factors(model, made, train, validation, training=training)


@pytest.mark.parametrize("loss", ["softmax", "bpr", "binary"])
def test_ids_without_events_get_zero_factors(loss: str) -> None:
    train = random_interactions()
    model, _ = trained(loss, train, epochs=2)
    for axis, factors in enumerate((model.user_factors_, model.item_factors_)):
        events = train.matrix().sum(axis=1 - axis)
        assert (events == 0).any()
        np.testing.assert_array_equal(np.abs(factors).sum(axis=1) > 0, events > 0)


def test_the_factors_are_those_of_the_best_epoch() -> None:
    train = planted()
    users = np.arange(41)
    validation = Interactions(users, (users * 3) % 23, n_users=41, n_items=23)
    model, history = trained("softmax", train, validation, epochs=8)
    best = history.best_epoch
    assert history.metric == "ndcg@10" and best is not None
    assert history.table.loc[best, "ndcg@10"] == history.table["ndcg@10"].max()
    again, _ = trained("softmax", train, epochs=best)
    np.testing.assert_array_equal(model.item_factors_, again.item_factors_)


@pytest.mark.parametrize("loss", ["softmax", "bpr", "binary"])
def test_a_few_events_are_learned_by_heart(loss: str) -> None:
    train = Interactions([0, 0, 1, 2], [0, 1, 2, 3], n_users=3, n_items=6)
    model, _ = trained(loss, train, epochs=100)
    scores = model.score(np.arange(3))
    taken = train.matrix().toarray() > 0
    for row, mine in zip(scores, taken, strict=True):
        assert row[mine].min() > row[~mine].max() + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factors": 0}, "factors must be at least 1, got 0"),
        ({"loss": "hinge"}, r"loss must be one of \('softmax', 'bpr', 'binary'\), got 'hinge'"),
        ({"regularization": -1.0}, "regularization must be at least 0, got -1.0"),
        ({"temperature": 0.0}, "temperature must be above 0 or None, got 0.0"),
        ({"regularization": np.nan}, "regularization must be at least 0, got nan"),
    ],
)
def test_options_that_do_not_exist_are_refused_by_name(options, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        FactorNetwork(3, 4, **{"factors": 2, **options})
