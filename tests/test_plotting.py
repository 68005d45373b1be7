"""The book's figures: what is drawn, what is refused, and what a page gets."""

import base64
import builtins
import html
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.sparse import csr_array

from reclib import plotting

matplotlib = pytest.importorskip("matplotlib")


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def named(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def frames(n):
    return [plotting.curves({"a": np.arange(4) * scale}, xlabel="k", ylabel="v") for scale in
            range(1, n + 1)]  # fmt: skip


def test_colours_differ_in_lightness_so_that_greyscale_tells_them_apart():
    rgb = np.array([matplotlib.colors.to_rgb(color) for color in plotting.COLORS])
    lightness = rgb @ [0.299, 0.587, 0.114]
    assert (np.diff(lightness) > 0.09).all()
    assert len(plotting.COLORS) == len(plotting.MARKERS) == len(set(plotting.MARKERS))
    assert len(plotting.COLORS) == len(plotting.LINES)


def test_bars_show_every_value_and_interval():
    figure = plotting.bars_with_intervals(
        {"low": 0.01, "high": 0.04}, intervals={"high": (0.03, 0.06)}, xlabel="NDCG@10"
    )
    [axes] = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [0.01, 0.04]
    assert [text.get_text() for text in axes.texts] == ["0.0100", "0.0400"]
    [error] = [each for each in axes.containers if hasattr(each, "lines")]
    segment = error.lines[2][0].get_segments()[0]
    np.testing.assert_allclose(segment[:, 0], [0.03, 0.06])
    assert axes.get_xlim()[1] > 0.06
    assert [label.get_text() for label in axes.get_yticklabels()] == ["low", "high"]


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([0.03244, 0.11, 0.1267], ["0.032", "0.110", "0.127"]),
        ([0.0004, 0.25], ["0.0004", "0.2500"]),
        ([12.5, 3.04], ["12.5", "3.0"]),
        ([3.0, 1250.0], ["3", "1250"]),
        ([1234.5, 0.5], ["1234.5", "0.5"]),
        ([0.0, -0.05], ["0.0000", "-0.0500"]),
        ([0.0], ["0"]),
        ([0.1, np.float32(0.2)], ["0.100", "0.200"]),
    ],
)
def test_all_bars_are_labelled_with_the_same_number_of_decimals(values, written):
    bars = {str(number): value for number, value in enumerate(values)}
    [axes] = plotting.bars_with_intervals(bars, xlabel="x").axes
    assert [text.get_text() for text in axes.texts] == written


@pytest.mark.parametrize(
    ("values", "intervals", "message"),
    [
        ({}, None, "values must name at least one bar, got none"),
        ({"a": 1.0}, {"b": (0, 2)}, "intervals must name bars, got 'b'"),
        ({"a": 1.0}, {"a": (2, 3)}, r"interval of 'a' must hold 1.0, got \(2, 3\)"),
    ],
)
def test_bars_refuse_what_does_not_fit(values, intervals, message):
    with pytest.raises(ValueError, match=message):
        plotting.bars_with_intervals(values, intervals=intervals, xlabel="x")


def test_curves_differ_in_marker_and_line_style_and_keep_their_values():
    figure = plotting.curves(
        {"a": [1, 2], "b": [3, 5]}, x=[10, 20], bands={"b": ([2, 4], [4, 6])}, xlabel="k",
        ylabel="recall", log_x=True,
    )  # fmt: skip
    [axes] = figure.axes
    first, second = axes.get_lines()
    np.testing.assert_array_equal(second.get_xdata(), [10, 20])
    np.testing.assert_array_equal(second.get_ydata(), [3, 5])
    assert first.get_marker() != second.get_marker()
    assert first.get_linestyle() != second.get_linestyle()
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()) == ("k", "recall", "log")
    assert len(axes.collections) == 1
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]


def test_curves_count_from_one_without_positions():
    [line] = plotting.curves({"a": [5, 6, 7]}, xlabel="k", ylabel="v").axes[0].get_lines()
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])


def test_whole_positions_have_whole_ticks():
    figure = plotting.curves({"a": [5, 6, 7]}, xlabel="k", ylabel="v")
    ticks = figure.axes[0].get_xticks()
    np.testing.assert_array_equal(ticks, ticks.round())


def test_curves_refuse_too_many_names_and_unequal_lengths():
    with pytest.raises(ValueError, match="series must name 1 to 5 lines, got 6"):
        plotting.curves({name: [1] for name in "abcdef"}, xlabel="x", ylabel="y")
    with pytest.raises(ValueError, match=r"'b' must have shape \(2,\), got \(3,\)"):
        plotting.curves({"a": [1, 2], "b": [1, 2, 3]}, xlabel="x", ylabel="y")


NAN = float("nan")
EPOCHS = pd.DataFrame(
    {
        "epoch": [1, 2, 3, 4, 5],
        "step": [10, 20, 30, 40, 50],
        "loss": [0.7, 0.5, 0.4, 0.3, 0.2],
        "learning_rate": [0.1] * 5,
        "seconds": [2.0] * 5,
        "ndcg@10": [NAN, 0.08, NAN, 0.075, NAN],
        "recall@10": [NAN, 0.10, NAN, 0.20, NAN],
    }
)


class History:
    """What training returns, as far as a figure needs it."""

    table = EPOCHS


@pytest.mark.parametrize("history", [EPOCHS, History()])
def test_training_curves_show_the_loss_and_the_first_validation_metric_by_epoch(history):
    figure = plotting.training_curves(history, title="BPR")
    above, below = figure.axes
    np.testing.assert_array_equal(above.get_lines()[0].get_xydata(), EPOCHS[["epoch", "loss"]])
    np.testing.assert_array_equal(below.get_lines()[0].get_xydata(), [[2, 0.08], [4, 0.075]])
    assert above.get_ylabel() == "training loss"
    assert below.get_ylabel() == "ndcg@10 on validation"
    assert (above.get_xlabel(), below.get_xlabel()) == ("", "epoch")
    assert above.get_title(loc="left") == "BPR"
    assert above.get_shared_x_axes().joined(above, below)


@pytest.mark.parametrize(
    ("metric", "epoch", "words"),
    [(None, 2, "best: 0.08 in epoch 2"), ("recall@10", 4, "best: 0.2 in epoch 4")],
)
def test_training_curves_mark_the_best_epoch_in_both_panels(metric, epoch, words):
    figure = plotting.training_curves(EPOCHS, metric=metric)
    for axes in figure.axes:
        [_, mark] = axes.get_lines()
        assert list(mark.get_xdata()) == [epoch, epoch]
    assert [text.get_text() for text in figure.axes[1].texts] == [words]


def test_training_curves_without_validation_show_the_loss_alone():
    table = EPOCHS.drop(columns=["ndcg@10", "recall@10"])
    [axes] = plotting.training_curves(table).axes
    assert len(axes.get_lines()) == 1
    assert axes.get_xlabel() == "epoch"


def test_training_curves_survive_an_epoch_that_was_never_validated():
    figure = plotting.training_curves(EPOCHS.iloc[:1])
    assert [len(axes.texts) for axes in figure.axes] == [0, 0]


def test_training_curves_refuse_an_empty_history_and_an_unknown_metric():
    with pytest.raises(ValueError, match="history must hold at least one epoch, got 0"):
        plotting.training_curves(EPOCHS.iloc[:0])
    message = r"metric must be one of \['ndcg@10', 'recall@10'\], got 'step'"
    with pytest.raises(ValueError, match=message):
        plotting.training_curves(EPOCHS, metric="step")


@pytest.mark.parametrize("kind", [np.asarray, csr_array])
def test_heatmap_writes_each_number_into_its_own_cell_and_leaves_zeros_empty(kind):
    matrix = kind([[1.0, 0, 2], [0, 3, 0]])
    figure = plotting.heatmap(matrix, rows=["u0", "u1"], columns=["i0", "i1", "i2"], mark=[(0, 1)])
    [axes] = figure.axes
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "1", (2, 0): "2", (1, 1): "3"}
    [frame] = axes.patches
    assert frame.get_xy() == (0.5, -0.5)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["i0", "i1", "i2"]


def test_a_missing_cell_leaves_the_shades_of_a_heatmap_alone():
    names = {"rows": ["u0"], "columns": ["i0", "i1"]}
    missing, zero = (plotting.heatmap([[2.0, cell]], **names).axes[0] for cell in (np.nan, 0.0))
    assert missing.images[0].get_cmap().name == zero.images[0].get_cmap().name == "Blues"


def test_heatmap_refuses_names_that_do_not_fit_and_matrices_too_large_to_read():
    with pytest.raises(ValueError, match=r"matrix must have shape \(2, 3\), got \(3, 2\)"):
        plotting.heatmap(np.ones((3, 2)), rows=["a", "b"], columns=["c", "d", "e"])
    with pytest.raises(ValueError, match="matrix must have 1 to 400 cells, got 420"):
        plotting.heatmap(np.ones((20, 21)), rows=["r"] * 20, columns=["c"] * 21)


def test_slider_shows_one_picture_at_a_time_and_needs_nothing_from_outside():
    markup = plotting._slider_markup(
        frames(3), ["a", "b", "<c>"], title="scale", alt="a line grows"
    )
    tags = Tags(markup)
    images, [control] = tags.named("img"), tags.named("input")
    assert ["hidden" in image for image in images] == [False, True, True]
    assert [image["alt"] for image in images][2] == "a line grows (scale: <c>)"
    assert (control["type"], control["min"], control["max"]) == ("range", "0", "2")
    assert json.loads(tags.named("div")[0]["data-labels"]) == ["a", "b", "<c>"]
    assert "//" not in re.sub(r"base64,[^\"]+", "", html.unescape(markup))
    assert not [attributes for _, attributes in tags.tags if "id" in attributes]


def test_slider_pictures_are_the_figures_in_order():
    images = Tags(plotting._slider_markup(frames(2), ["a", "b"], title="t", alt="a line grows"))
    data = [image["src"].split(",")[1] for image in images.named("img")]
    sizes = {Image.open(io.BytesIO(base64.b64decode(text))).size for text in data}
    assert len(sizes) == 1
    assert data[0] != data[1]


@pytest.mark.parametrize(
    ("n", "labels", "alt", "message"),
    [
        (1, ["a"], "a line grows", "frames must be at least 2 figures, got 1"),
        (2, ["a"], "a line grows", "labels must be 2, one per figure, got 1"),
        (2, ["a", "b"], "line", "alt must say in words what the figure shows, got 'line'"),
    ],
)
def test_slider_refuses_what_does_not_fit(n, labels, alt, message):
    with pytest.raises(ValueError, match=message):
        plotting.slider(frames(n), labels, title="t", alt=alt)


def test_show_displays_a_picture_with_its_text_alternative(monkeypatch):
    shown = []
    monkeypatch.setattr(plotting, "_display", shown.append)
    plotting.show(frames(1)[0], alt='a line that grows to "three"')
    [image] = Tags(shown[0]).named("img")
    assert image["alt"] == 'a line that grows to "three"'
    assert image["src"].startswith("data:image/png;base64,iVBOR")
    with pytest.raises(ValueError, match="alt must say in words"):
        plotting.show(frames(1)[0], alt="")


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match="install the extra 'book'"):
        plotting.new_figure()
