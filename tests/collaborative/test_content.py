"""Content neighbours against scikit-learn and by hand; the hybrid between its two ends."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.metrics.pairwise import cosine_similarity

from reclib.collaborative import ContentKNN, HybridKNN, ItemKNN
from reclib.collaborative import content as content_module
from reclib.collaborative.content import content_weights
from reclib.foundations.interactions import Histories, Interactions


def attributes(seed: int = 0, shape=(40, 9)) -> np.ndarray:
    generator = np.random.default_rng(seed)
    present = generator.random(shape) < np.linspace(0.05, 0.8, shape[1])
    present[:, -1] = True  # all items have it: it must say nothing
    present[5] = False
    return present.astype(float)


def events(n_items: int = 40) -> Interactions:
    generator = np.random.default_rng(1)
    users, items = np.nonzero(generator.random((30, n_items - 3)) < 0.2)  # 3 items without events
    return Interactions(users, items, n_users=30, n_items=n_items)


@pytest.mark.parametrize("block", [7, 1024])
@pytest.mark.parametrize("n_neighbors", [3, 100])
def test_weights_are_cosines_of_rarity_weighted_attributes(n_neighbors, block, monkeypatch) -> None:
    monkeypatch.setattr(content_module, "_BLOCK", block)
    present = attributes()
    rarity = np.log(40 / present.sum(axis=0))
    full = cosine_similarity(present * rarity)
    expected = np.zeros((40, 40))
    for j in range(40):
        others = [i for i in range(40) if i != j and full[j, i] > 1e-12]
        order = sorted(others, key=lambda i, j=j: (-round(full[j, i], 10), i))[:n_neighbors]
        expected[j, order] = full[j, order]
    found = content_weights(csr_array(present), n_neighbors).toarray()
    if n_neighbors == 100:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    else:  # items with the same attributes tie up to rounding: compare the values kept
        kept = [np.sort(weights, axis=1)[:, -3:] for weights in (found, expected)]
        np.testing.assert_allclose(*kept, rtol=1e-5, atol=1e-7)


def test_items_without_events_are_scored_and_items_without_attributes_are_not() -> None:
    model = ContentKNN().fit(events(), item_features=attributes())
    scores = model.score(np.arange(30))
    assert (scores[:, -3:] > 0).any(axis=0).all()
    assert not scores[:, 5].any()
    assert not ItemKNN().fit(events()).score(np.arange(30))[:, -3:].any()


def test_scores_do_not_depend_on_what_others_took() -> None:
    one = ContentKNN().fit(events(), item_features=attributes())
    two = ContentKNN().fit(Interactions([0], [1], n_items=40), item_features=attributes())
    histories = Histories.from_lists([[3, 8], [12]])
    np.testing.assert_array_equal(one.score_histories(histories), two.score_histories(histories))


def test_hybrid_is_the_neighbours_at_one_end_and_the_content_at_the_other() -> None:
    train, users = events(), np.arange(30)
    scores = {
        share: HybridKNN(content_weight=share, shrinkage=2.0)
        .fit(train, item_features=attributes())
        .score(users)
        for share in (0.0, 0.25, 1.0)
    }
    neighbors = ItemKNN(shrinkage=2.0).fit(train).score(users)
    content = ContentKNN().fit(train, item_features=attributes()).score(users)
    np.testing.assert_allclose(scores[0.0], neighbors, rtol=1e-6)
    np.testing.assert_allclose(scores[1.0], content, rtol=1e-6)
    np.testing.assert_allclose(scores[0.25], 0.75 * neighbors + 0.25 * content, rtol=1e-5)


@pytest.mark.parametrize("model", [ContentKNN, HybridKNN])
@pytest.mark.parametrize(
    ("item_features", "message"),
    [
        (None, "item_features must be given to a content model, got None"),
        (np.ones((39, 2)), "item_features must have 40 rows, got 39"),
        (np.full((40, 2), -1.0), "item_features must be finite and at least 0, got others"),
        (np.full((40, 2), np.nan), "item_features must be finite and at least 0, got others"),
    ],
)
def test_bad_attributes_are_refused(model, item_features, message) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        model().fit(events(), item_features=item_features)


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_content_weight_is_a_share(value: float) -> None:
    with pytest.raises(
        ValueError, match=f"^content_weight must be at least 0 and at most 1, got {value}$"
    ):
        HybridKNN(content_weight=value).fit(events(), item_features=attributes())


def test_sparse_and_dense_attributes_give_the_same() -> None:
    users = np.arange(30)
    dense = ContentKNN().fit(events(), item_features=attributes()).score(users)
    sparse = ContentKNN().fit(events(), item_features=csr_array(attributes())).score(users)
    np.testing.assert_array_equal(dense, sparse)
