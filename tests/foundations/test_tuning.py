"""Folds against scikit-learn's, searches against a planted optimum and against themselves."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest
from sklearn.model_selection import KFold

from reclib.collaborative import EASE, ItemKNN, Popularity
from reclib.foundations.evaluation import cases_from_split, evaluate
from reclib.foundations.interactions import Interactions
from reclib.foundations.splitting import Split, split_random
from reclib.foundations.training import Diverged, fit
from reclib.foundations.training import Options as Training
from reclib.foundations.tuning import (
    Choice,
    Float,
    Integer,
    Search,
    cross_validate,
    folds,
    grid,
    on_validation,
    ranking_metrics,
    rating_errors,
    search,
)


def events(seed: int = 0, n: int = 400, repeats: bool = False) -> Interactions:
    """Distinct pairs of 40 users and 25 items, with ratings; with repeats, some pairs twice."""
    generator = np.random.default_rng(seed)
    pairs = generator.choice(40 * 25, size=n, replace=repeats)
    users, items = pairs // 25, pairs % 25
    ratings = 1.0 + (users % 3 + items) % 5
    return Interactions(users, items, ratings=ratings, n_users=40, n_items=25)


def rows(part: Interactions) -> list[tuple[int, int]]:
    return list(zip(part.users.tolist(), part.items.tolist(), strict=True))


# --- folds


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), min_size=2, max_size=60),
    st.integers(2, 7),
    st.integers(0, 3),
)
def test_each_event_is_held_out_exactly_once_and_its_pair_is_not_in_train(
    pairs: list[tuple[int, int]], n_folds: int, seed: int
) -> None:
    if len(set(pairs)) < n_folds:
        return
    users, items = zip(*pairs, strict=True)
    whole = Interactions(users, items, n_users=9, n_items=5)
    parts = list(folds(whole, n_folds, seed=seed))
    assert sorted(row for _, test in parts for row in rows(test)) == sorted(pairs)
    for train, test in parts:
        assert sorted(rows(train) + rows(test)) == sorted(pairs)
        assert not set(rows(train)) & set(rows(test))
        assert (train.n_users, test.n_items) == (9, 5)


@pytest.mark.parametrize("n_folds", [2, 5, 7, 400])
def test_folds_are_as_large_as_those_of_scikit_learn(n_folds: int) -> None:
    ours = sorted(len(test) for _, test in folds(events(), n_folds))
    theirs = sorted(len(test) for _, test in KFold(n_folds).split(np.zeros(400)))
    assert ours == theirs


def test_folds_of_distinct_pairs_follow_the_order_of_events() -> None:
    whole = events()
    fold = np.random.default_rng(3).permutation(400) % 5
    for number, (_, test) in enumerate(folds(whole, 5, seed=3)):
        assert rows(test) == rows(whole.select(fold == number))


def test_folds_repeat_with_the_seed_and_differ_without() -> None:
    one, two, other = (
        [rows(test) for _, test in folds(events(), 5, seed=seed)] for seed in (1, 1, 2)
    )
    assert one == two != other


@pytest.mark.parametrize("n_folds", [-1, 0, 1, 4])
def test_there_are_at_least_two_folds_and_no_more_than_pairs(n_folds: int) -> None:
    whole = Interactions([0, 0, 1, 1], [0, 1, 0, 0])
    with pytest.raises(ValueError, match=f"^n_folds must be from 2 to the 3 pairs, got {n_folds}$"):
        folds(whole, n_folds)


# --- cross-validation


def test_cross_validation_equals_a_loop_by_hand() -> None:
    table = cross_validate(lambda: EASE(regularization=5.0), events(), n_folds=3, seed=1)
    assert list(table.index) == [1, 2, 3]
    for number, (train, test) in enumerate(folds(events(), 3, seed=1), start=1):
        report = evaluate(EASE(regularization=5.0).fit(train), history=train, test=test, k=10)
        assert table.loc[number].to_dict() == {name: report[name] for name in report.values}


def test_cross_validation_fits_a_new_model_for_each_fold() -> None:
    made: list[Any] = []

    def make() -> Popularity:
        made.append(Popularity())
        return made[-1]

    cross_validate(make, events(), n_folds=4)
    assert len({id(model) for model in made}) == 4


def test_metrics_of_a_fold_take_their_cutoffs() -> None:
    train, test = next(folds(events()))
    found = ranking_metrics(Popularity().fit(train), train, test, k=(1, 5))
    assert {"ndcg@1", "recall@5"} <= set(found)
    assert found["recall@1"] < found["recall@5"]


class Guess:
    """Predicts the same for everybody."""

    def __init__(self, value: float) -> None:
        self.value = value

    def fit(self, train: Interactions) -> "Guess":
        return self

    def predict(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return np.full(len(users), self.value)


def test_rating_errors_are_root_mean_square_and_mean_absolute() -> None:
    train = Interactions([0, 0], [0, 1], ratings=[1.0, 5.0])
    test = Interactions([0, 0], [2, 3], ratings=[2.0, 5.0])
    found = rating_errors(Guess(3.0), train, test)
    assert found == {"rmse": pytest.approx(math.sqrt((1 + 4) / 2)), "mae": pytest.approx(1.5)}


def test_predictions_are_clipped_to_the_ratings_that_train_knows() -> None:
    train = Interactions([0, 0], [0, 1], ratings=[1.0, 4.0])
    test = Interactions([0], [2], ratings=[2.0])
    assert rating_errors(Guess(9.0), train, test)["mae"] == 2.0
    assert rating_errors(Guess(-9.0), train, test)["mae"] == 1.0


def test_ratings_are_cross_validated_by_their_errors() -> None:
    def make() -> ItemKNN:
        return ItemKNN(n_neighbors=10, similarity="pearson")

    table = cross_validate(make, events(), judge=rating_errors)
    assert list(table.columns) == ["rmse", "mae"]
    assert table.shape == (5, 2)
    assert (table["rmse"] >= table["mae"]).all()


def test_rating_errors_need_ratings() -> None:
    bare = Interactions([0, 0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="^interactions must have ratings, got none$"):
        cross_validate(lambda: Guess(1.0), bare, judge=rating_errors, n_folds=2)


# --- what may be chosen


def test_a_grid_holds_every_combination_the_last_option_fastest() -> None:
    space = {"a": Choice(["x", None]), "b": Integer(2, 4)}
    assert grid(space) == [{"a": a, "b": b} for a in ("x", None) for b in (2, 3, 4)]


def test_values_of_a_choice_become_python_s_own() -> None:
    values = Choice(np.geomspace(0.01, 1, 3)).values
    assert [type(value) for value in values] == [float] * 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice([]), "values must hold at least one value, got none"),
        (lambda: Float(1, 1), "low must be below high, both finite, got 1 and 1"),
        (lambda: Integer(3, 2), "low must be below high, both finite, got 3 and 2"),
        (lambda: Float(0, math.inf), "low must be below high, both finite, got 0 and inf"),
        (lambda: Float(math.nan, 1), "low must be below high, both finite, got nan and 1"),
        (lambda: Float(0, 1, log=True), "low must be above 0 where log is set, got 0"),
        (
            lambda: grid({"a": Float(0, 1)}),
            r"space must hold no Float for a grid, got Float\(low=0, high=1, log=False\) for 'a'",
        ),
    ],
)
def test_ranges_are_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


# --- the search, on a function whose best options are known

SPACE = {"rate": Float(1e-4, 1.0, log=True), "size": Integer(1, 20), "kind": Choice("abc")}


def make(rate: float, size: int, kind: str) -> dict[str, Any]:
    """The "model" is its options."""
    return {"rate": rate, "size": size, "kind": kind}


def planted(model: dict[str, Any]) -> float:
    """Greatest, 0, at rate 0.01, size 7 and kind b; not symmetric in any of them."""
    rate = math.log10(model["rate"]) + 2
    return -((1 + 0.5 * (rate > 0)) * rate**2) - ((model["size"] - 7) / 5) ** 2 - (
        model["kind"] != "b"
    )  # fmt: skip


def same(one: Search, two: Search) -> bool:
    first, second = (each.table.drop(columns="seconds") for each in (one, two))
    return first.equals(second) and one.options == two.options


@pytest.mark.parametrize("seed", range(5))
def test_tpe_comes_near_the_planted_optimum(seed: int) -> None:
    found = search(make, SPACE, planted, n_trials=60, seed=seed)
    assert found.value == found.table["value"].max() == planted(found.best) > -0.15
    assert found.best["kind"] == "b"
    assert abs(found.best["size"] - 7) <= 2


def test_tpe_uses_what_it_saw() -> None:
    tpe, random = (
        np.mean([search(make, SPACE, planted, n_trials=40, method=m, seed=s).table["value"][20:]
                 for s in range(3)])
        for m in ("tpe", "random")
    )  # fmt: skip
    assert tpe > random + 1


def test_a_grid_finds_the_planted_optimum_exactly() -> None:
    space = {
        "rate": Choice([0.1, 0.01, 0.001]), "size": Integer(5, 8), "kind": Choice("abc")
    }  # fmt: skip
    found = search(make, space, planted, method="grid")
    assert found.best == {"rate": 0.01, "size": 7, "kind": "b"}
    assert found.value == 0
    assert found.options == grid(space)
    assert len(search(make, space, planted, method="grid", n_trials=36).table) == 36


def test_the_first_of_equal_trials_is_best() -> None:
    found = search(make, SPACE, lambda model: 1.0, n_trials=5, method="random")
    assert found.best == found.options[0]


def test_random_search_draws_evenly_from_each_range() -> None:
    space = {
        "rate": Float(1e-3, 10, log=True), "share": Float(2, 5), "size": Integer(3, 6),
        "width": Integer(1, 4, log=True), "kind": Choice("abc"),
    }  # fmt: skip
    found = search(lambda **options: 0, space, float, n_trials=3000, method="random").table
    assert kstest((np.log10(found["rate"]) + 3) / 4, "uniform").pvalue > 0.01
    assert kstest((found["share"] - 2) / 3, "uniform").pvalue > 0.01
    assert chisquare(found["size"].value_counts()).pvalue > 0.01
    assert chisquare(found["kind"].value_counts()).pvalue > 0.01
    counts = found["width"].value_counts().sort_index()
    shares = np.diff(np.log([0.5, 1.5, 2.5, 3.5, 4.5])) / np.log(9)
    assert list(counts.index) == [1, 2, 3, 4]
    assert chisquare(counts, 3000 * shares).pvalue > 0.01
    assert found["size"].dtype == np.int64


def test_choices_of_any_kind_reach_the_model_as_they_are() -> None:
    space = {"sizes": Choice([(8, 4), None, [16]])}
    seen = []
    search(lambda sizes: seen.append(sizes), space, lambda model: 0.0, n_trials=12)
    assert all(any(s is v or s == v for v in ((8, 4), None, [16])) for s in seen)
    assert len({str(s) for s in seen}) == 3


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_a_search_repeats_with_its_seed_and_more_trials_begin_alike(method: Any) -> None:
    one, two, other, longer = (
        search(make, SPACE, planted, n_trials=n, method=method, seed=s)
        for n, s in [(14, 0), (14, 0), (14, 1), (17, 0)]
    )
    assert same(one, two)
    assert not same(one, other)
    assert longer.options[:14] == one.options


def test_the_table_has_a_row_a_trial() -> None:
    found = search(make, SPACE, planted, n_trials=4, method="random")
    columns = ["trial", "rate", "size", "kind", "value", "seconds", "error"]
    assert list(found.table.columns) == columns
    assert found.table["trial"].tolist() == [0, 1, 2, 3]
    assert found.table[["rate", "size", "kind"]].to_dict("records") == found.options


# --- trials that go wrong


def fragile(model: dict[str, Any]) -> float:
    if model["rate"] > 0.1:
        raise Diverged("loss must be finite, got nan at step 3")
    return planted(model)


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_a_trial_that_diverged_is_recorded_and_the_search_goes_on(method: Any) -> None:
    found = search(make, SPACE, fragile, n_trials=30, method=method)
    wrong = found.table["rate"] > 0.1
    assert 0 < wrong.sum() < 30
    assert found.table.loc[wrong, "value"].isna().all()
    assert set(found.table.loc[wrong, "error"]) == {"loss must be finite, got nan at step 3"}
    assert set(found.table.loc[~wrong, "error"]) == {""}
    assert found.best["rate"] <= 0.1


def test_tpe_learns_to_avoid_what_diverges() -> None:
    def half(model: float) -> float:
        if model > 0.5:
            raise Diverged("loss must be finite, got nan")
        return 0.0

    space = {"rate": Float(0, 1)}
    table = search(lambda rate: rate, space, half, n_trials=60, seed=1).table
    late = table["error"].iloc[20:] != ""
    assert late.mean() < 0.3


class Line(torch.nn.Module):
    """A weight that should become 3."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def loss(self, batch: tuple[torch.Tensor]) -> torch.Tensor:
        return ((self.weight * batch[0] - 3 * batch[0]) ** 2).mean()

    def epoch(self, n: int, rank: int = 0, world: int = 1) -> Any:
        return iter([(torch.ones(4),)] * 5)

    def steps(self, world: int = 1) -> int:
        return 5


def test_a_training_that_really_diverges_counts_as_worst() -> None:
    def judge(learning_rate: float) -> float:
        line = Line()
        options = Training(epochs=10, learning_rate=learning_rate, optimizer="sgd", device="cpu")
        fit(line, line, options)
        return -abs(line.weight.item() - 3)

    space = {"learning_rate": Choice([0.01, 0.2, 100.0])}
    found = search(lambda learning_rate: learning_rate, space, judge, method="grid")
    assert found.table["value"].isna().tolist() == [False, False, True]
    assert found.table["error"][2].startswith("loss must be finite, got inf at step ")
    assert found.best == {"learning_rate": 0.2}


def test_nothing_is_best_where_all_diverged() -> None:
    def judge(model: Any) -> float:
        raise Diverged("loss must be finite, got nan")

    found = search(make, SPACE, judge, n_trials=12)
    assert math.isnan(found.value)
    with pytest.raises(ValueError, match="^trials must hold a value, got 12 that diverged$"):
        _ = found.best


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_judge_without_a_finite_number_is_an_error(value: float) -> None:
    message = rf"^judge must return a finite number, got {value} for \{{'rate': 2\}}$"
    with pytest.raises(ValueError, match=message):
        search(lambda rate: rate, {"rate": Choice([2])}, lambda model: value, method="grid")


def test_any_other_error_ends_the_search() -> None:
    with pytest.raises(ZeroDivisionError):
        search(make, SPACE, lambda model: 1 / 0, n_trials=3, method="random")


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        ({}, {}, "space must name at least one option, got none"),
        ({"lambda": Float(1, 2)}, {}, "space must name options of EASE, got 'lambda'"),
        ({"regularization": [1, 2]}, {}, r"space must hold Choice, Float or Integer, got \[1, 2\]"),
        ({"value": 1}, {}, "space must not name trial, value, seconds, error, got 'value'"),
        (None, {"n_trials": 0}, "n_trials must be at least 1, got 0"),
        (None, {"n_trials": 0, "method": "grid"}, "n_trials must be at least 1, got 0"),
        (None, {"n_trials": None}, "n_trials must be given for method 'tpe', got None"),
        (None, {"n_trials": 1, "method": "grid"}, "n_trials must be the 3 of the grid, got 1"),
        (None, {"method": "tp"}, "method must be one of tpe, random, grid, got 'tp'"),
    ],
)  # fmt: skip
def test_a_search_that_cannot_be_is_refused(space: Any, options: Any, message: str) -> None:
    space = {"regularization": Integer(1, 3)} if space is None else space
    with pytest.raises(ValueError, match=f"^{message}$"):
        search(EASE, space, lambda model: 0.0, **{"n_trials": 2, **options})


def test_without_optuna_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    message = r"^method 'tpe' needs optuna: pip install -e '\.\[tune\]'$"
    with pytest.raises(ImportError, match=message):
        search(make, SPACE, planted, n_trials=2)
    assert len(search(make, SPACE, planted, n_trials=2, method="random").table) == 2


def test_a_search_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    search(make, SPACE, fragile, n_trials=12)
    assert capfd.readouterr() == ("", "")


# --- a search that was cut off


class Interrupted(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("method", ["tpe", "random"])
@pytest.mark.parametrize("at", [0, 1, 13, 19])
def test_a_search_that_was_cut_off_ends_as_one_that_was_not(
    method: Any, at: int, tmp_path: Path
) -> None:
    calls = []

    def cut(model: dict[str, Any]) -> float:
        if len(calls) == at:
            raise Interrupted
        calls.append(model)
        return fragile(model)

    path = tmp_path / "new" / "trials.jsonl"
    options: dict[str, Any] = {"n_trials": 20, "method": method, "seed": 3}
    with pytest.raises(Interrupted):
        search(make, SPACE, cut, path=path, **options)
    judged = []
    resumed = search(
        make, SPACE, lambda model: judged.append(model) or fragile(model), path=path, **options
    )
    whole = search(make, SPACE, fragile, **options)
    assert same(resumed, whole)
    assert judged == whole.options[at:]
    assert whole.table["value"].isna().any()


def test_a_finished_search_is_read_and_not_run(tmp_path: Path) -> None:
    first = search(make, SPACE, planted, n_trials=5, path=tmp_path / "trials")
    again = search(make, SPACE, lambda model: 1 / 0, n_trials=5, path=tmp_path / "trials")
    pd.testing.assert_frame_equal(first.table, again.table)
    fewer = search(make, SPACE, lambda model: 1 / 0, n_trials=3, path=tmp_path / "trials")
    pd.testing.assert_frame_equal(first.table[:3], fewer.table)


@pytest.mark.parametrize("n_bytes", [1, 7, 40])
def test_a_line_that_was_cut_off_is_written_anew(n_bytes: int, tmp_path: Path) -> None:
    path, options = tmp_path / "trials", {"n_trials": 6, "seed": 2}
    whole = search(make, SPACE, planted, path=path, **options)
    written = path.read_bytes()
    path.write_bytes(written[:-n_bytes])
    assert same(search(make, SPACE, planted, path=path, **options), whole)
    assert [json.loads(line)["value"] for line in path.read_text().splitlines()[1:]] == list(
        whole.table["value"]
    )


def test_a_file_cut_off_in_its_first_line_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "trials"
    path.write_text('{"format": 1, "met')
    found = search(make, SPACE, planted, n_trials=3, path=path)
    assert len(path.read_text().splitlines()) == 4
    assert same(found, search(make, SPACE, planted, n_trials=3))


@pytest.mark.parametrize(
    ("space", "options"),
    [
        (SPACE, {"seed": 1}),
        (SPACE, {"method": "random"}),
        (SPACE | {"size": Integer(1, 21)}, {}),
        (dict(reversed(SPACE.items())), {}),
    ],
)
def test_a_file_of_another_search_is_refused(space: Any, options: Any, tmp_path: Path) -> None:
    search(make, SPACE, planted, n_trials=3, path=tmp_path / "trials")
    before = (tmp_path / "trials").read_bytes()
    with pytest.raises(ValueError, match=r"trials must be of this search, .*, got \{"):
        search(make, space, planted, **{"n_trials": 3, "path": tmp_path / "trials", **options})
    assert (tmp_path / "trials").read_bytes() == before


@pytest.mark.parametrize("content", [b"my notes", b"my notes\n", b"\xff\x00\n"])
def test_a_file_that_is_no_search_is_refused_and_left_alone(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="notes must be of this search"):
        search(make, SPACE, planted, n_trials=3, path=path)
    assert path.read_bytes() == content


def test_a_file_with_other_trials_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trials"
    search(make, SPACE, planted, n_trials=3, path=path)
    head, first, second, _ = path.read_text().splitlines()
    path.write_text("\n".join([head, second, first]) + "\n")
    with pytest.raises(ValueError, match=r"trials must hold \{.*\} as trial 0, got \{"):
        search(make, SPACE, planted, n_trials=3, path=path)
    path.write_text(head + "\nnot json\n")
    with pytest.raises(ValueError, match="trials must hold one trial a line, got Expecting value"):
        search(make, SPACE, planted, n_trials=3, path=path)


def test_what_a_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    space = {"model": Choice([print])}
    message = "^space must hold JSON values for a file, got Object of type builtin.* is not JSON "
    with pytest.raises(ValueError, match=message):
        search(lambda model: model, space, float, n_trials=2, path=tmp_path / "trials")


# --- judged on validation


class Watched(EASE):
    """Takes validation, as models that are trained do, and keeps what it was given."""

    def fit(self, train: Interactions, *, validation: Interactions | None = None) -> "Watched":
        self.given = (train, validation)
        super().fit(train)
        return self


def test_on_validation_fits_on_train_ranks_validation_and_reads_no_test() -> None:
    split = split_random(events(), 0.2, validation_fraction=0.2)
    blind = Split(split.train, split.validation, None, split.rule)  # type: ignore[arg-type]
    value = on_validation(blind, "recall@5")(EASE(regularization=3.0))
    model = EASE(regularization=3.0).fit(split.train)
    assert value == evaluate(model, cases_from_split(split, "validation"), k=5)["recall@5"]


def test_on_validation_gives_validation_to_models_that_take_it() -> None:
    split, model = split_random(events(), 0.2, validation_fraction=0.2), Watched()
    on_validation(split)(model)
    assert model.given == (split.train, split.validation)


def test_the_search_of_a_model_finds_the_regularization_of_a_loop_by_hand() -> None:
    split = split_random(events(), 0.2, validation_fraction=0.2)
    judge, values = on_validation(split), [0.1, 3.0, 30.0, 1000.0]
    found = search(EASE, {"regularization": Choice(values)}, judge, method="grid")
    by_hand = [judge(EASE(regularization=value)) for value in values]
    assert found.table["value"].tolist() == by_hand
    assert found.best == {"regularization": values[int(np.argmax(by_hand))]}
