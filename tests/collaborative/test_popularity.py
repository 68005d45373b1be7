"""Popularity: the counts, and nothing but the counts."""

import numpy as np

from reclib.collaborative import Popularity
from reclib.foundations.interactions import Histories, Interactions


def test_scores_are_the_summed_weights_of_each_item_for_everybody() -> None:
    train = Interactions([0, 0, 1, 1], [1, 3, 3, 3], weights=[1, 2, 0.5, 1], n_items=5)
    model = Popularity().fit(train)
    expected = [0, 1, 0, 3.5, 0]
    assert model.score([0, 1, 0]).tolist() == [expected] * 3
    assert model.score_histories(Histories.from_lists([[], [2]])).tolist() == [expected] * 2


def test_scores_of_many_users_take_no_memory_of_their_own() -> None:
    model = Popularity().fit(Interactions([0, 1], [0, 2]))
    scores = model.score(np.zeros(1000, dtype=int))
    assert scores.strides[0] == 0
