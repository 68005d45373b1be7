"""The book's recurring figures, imported by notebooks only: one look, alt text, no other host.

Every figure must be readable in greyscale: series differ in lightness, marker and line style, and
numbers are written beside bars and into cells. Figures are made without pyplot, so that nothing is
shown twice and nothing stays in memory; :func:`show` and :func:`slider` put them on the page as
pictures with a text alternative.

Source: none; needs the extra ``book`` (matplotlib).
Differences from the paper: none.
Chapter: all of them.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "bars_with_intervals",
    "curves",
    "heatmap",
    "new_figure",
    "show",
    "slider",
    "training_curves",
]

COLORS = ("#0b3c5d", "#a83a24", "#3f9270", "#e39a36", "#bccad4")  # dark to light
MARKERS = ("o", "s", "^", "D", "v")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))

_RC = {
    "axes.edgecolor": "#5b6b78",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "font.size": 10,
}


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(
            "matplotlib must be installed to draw the book's figures: install the extra 'book'"
        ) from error
    return matplotlib


def new_figure(width: float = 6.4, height: float = 3.6) -> tuple[Figure, Axes]:
    """Return an empty figure in the book's style and its axes.

    Args:
        width: inches.
        height: inches.
    """
    figure, [axes] = _panels(1, width, height)
    return figure, axes


def _panels(n: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with ``n`` panels, one below the other, over one horizontal axis."""
    matplotlib = _matplotlib()
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(n, sharex=True, squeeze=False)
    return figure, list(axes[:, 0])


def bars_with_intervals(
    values: Mapping[str, float],
    *,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    xlabel: str,
    title: str = "",
) -> Figure:
    """Horizontal bars, first name on top, each with its value and, where given, its interval.

    All values are written with as many decimals as give the largest three significant digits; more
    where the smallest would read as zero, none where all are whole.

    Args:
        values: height of each bar by name.
        intervals: (low, high) by name; a name may be missing.
        xlabel: what is measured, with its unit.
        title: one line above the bars.

    Raises:
        ValueError: if there is no value, or an interval has a name without a bar or does not hold
            its value.
    """
    intervals = intervals or {}
    if not values:
        raise ValueError("values must name at least one bar, got none")
    for name, (low, high) in intervals.items():
        if name not in values:
            raise ValueError(f"intervals must name bars, got {name!r}")
        if not low <= values[name] <= high:
            raise ValueError(f"interval of {name!r} must hold {values[name]}, got ({low}, {high})")
    figure, axes = new_figure(height=0.9 + 0.42 * len(values))
    limit = max(abs(v) for v in values.values()) or 1.0
    decimals = _decimals([float(value) for value in values.values()])
    for row, (name, value) in enumerate(values.items()):
        axes.barh(row, value, height=0.62, color=COLORS[-1], edgecolor=COLORS[0])
        low, high = intervals.get(name, (value, value))
        if name in intervals:
            error = [[value - low], [high - value]]
            axes.errorbar(value, row, xerr=error, color=COLORS[0], capsize=4, fmt="none")
        text = f"{value:.{decimals}f}"
        axes.annotate(text, (high, row), (6, 0), textcoords="offset points", va="center")
        limit = max(limit, abs(high))
    axes.set_yticks(range(len(values)), list(values))
    axes.invert_yaxis()
    axes.set_xlim(min(0.0, *values.values()), 1.18 * limit)
    axes.set_xlabel(xlabel)
    axes.set_title(title, loc="left")
    return figure


def _decimals(values: Sequence[float]) -> int:
    """How many decimals all values get, so that their digits stand below each other."""
    sizes = [abs(value) for value in values if value]
    if not sizes or all(size.is_integer() for size in sizes):
        return 0
    return max(0, 2 - math.floor(math.log10(max(sizes))), -math.floor(math.log10(min(sizes))))


def curves(
    series: Mapping[str, ArrayLike],
    *,
    x: ArrayLike | None = None,
    bands: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    xlabel: str,
    ylabel: str,
    title: str = "",
    log_x: bool = False,
) -> Figure:
    """Lines over one shared axis, told apart by lightness, marker and line style.

    Args:
        series: (n,) values by name, at most five names.
        x: (n,) positions; 1, 2, … where absent.
        bands: (low, high) of shape (n,) each, drawn as a shade behind the line of that name.
        xlabel: what runs along the axis, with its unit.
        ylabel: what is measured, with its unit.
        title: one line above the lines.
        log_x: logarithmic horizontal axis.

    Raises:
        ValueError: if there are no or more than five names, or lengths differ.
    """
    if not 1 <= len(series) <= len(COLORS):
        raise ValueError(f"series must name 1 to {len(COLORS)} lines, got {len(series)}")
    lines = {name: np.asarray(values, dtype=float) for name, values in series.items()}
    length = len(next(iter(lines.values())))
    positions = np.arange(1, length + 1) if x is None else np.asarray(x, dtype=float)
    for name, line in lines.items():
        if line.shape != positions.shape:
            raise ValueError(f"{name!r} must have shape {positions.shape}, got {line.shape}")
    figure, axes = new_figure()
    from matplotlib.ticker import MaxNLocator

    for number, (name, line) in enumerate(lines.items()):
        look: dict[str, Any] = {"color": COLORS[number], "linestyle": LINES[number]}
        look |= {"linewidth": 1.8, "markersize": 5}
        axes.plot(positions, line, marker=MARKERS[number], label=name, **look)
        if bands and name in bands:
            low, high = (np.asarray(edge, dtype=float) for edge in bands[name])
            axes.fill_between(positions, low, high, color=COLORS[number], alpha=0.15, linewidth=0)
    if log_x:
        axes.set_xscale("log")
    elif (positions == positions.round()).all():
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title, loc="left")
    if len(lines) > 1:
        axes.legend(frameon=False)
    return figure


def training_curves(history: Any, *, metric: str | None = None, title: str = "") -> Figure:
    """Loss above, validation metric below, over the same epochs; the best epoch is marked.

    Without validation there is only the loss. An epoch that was not validated has no marker.

    Args:
        history: what ``training.fit`` returned, or its table: one row an epoch with the columns
            ``epoch``, ``loss`` and those of the validation.
        metric: the column of the lower panel; the first one of the validation where absent.
        title: one line above the panels.

    Raises:
        ValueError: if there is no epoch, or no column of that name.
    """
    table = getattr(history, "table", history)
    if len(table) == 0:
        raise ValueError("history must hold at least one epoch, got 0")
    validated = [name for name in table.columns if name not in _NOT_VALIDATION]
    if metric is not None and metric not in validated:
        raise ValueError(f"metric must be one of {validated}, got {metric!r}")
    names = ["loss", *([metric] if metric else validated[:1])]
    figure, panels = _panels(len(names), 6.4, 1.0 + 1.9 * len(names))
    from matplotlib.ticker import MaxNLocator

    for number, (name, axes) in enumerate(zip(names, panels, strict=True)):
        known = table[np.isfinite(table[name].to_numpy(dtype=float))]
        look: dict[str, Any] = {"color": COLORS[number], "marker": MARKERS[number]}
        axes.plot(known["epoch"], known[name], linewidth=1.8, markersize=4, **look)
        axes.set_ylabel("training loss" if name == "loss" else f"{name} on validation")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[-1].set_xlabel("epoch")
    panels[0].set_title(title, loc="left")
    if len(names) > 1 and len(known):
        _mark_best(panels, known["epoch"].to_numpy(), known[name].to_numpy(dtype=float))
    return figure


_NOT_VALIDATION = ("epoch", "step", "loss", "learning_rate", "seconds")


def _mark_best(panels: Sequence[Axes], epochs: ArrayLike, values: ArrayLike) -> None:
    """A line through all panels at the epoch with the highest value, and both in words."""
    best = int(np.argmax(values))
    epoch, value = np.asarray(epochs)[best], np.asarray(values)[best]
    for axes in panels:
        axes.axvline(epoch, color="#5b6b78", linestyle=":", linewidth=1.2, zorder=0)
    right = 2 * epoch < np.min(epochs) + np.max(epochs)  # where there is more room
    panels[-1].annotate(
        f"best: {value:.3g} in epoch {epoch}",
        (epoch, 0.06),  # at the foot: near its best the curve is at the top
        (6 if right else -6, 0),
        xycoords=panels[-1].get_xaxis_transform(),
        textcoords="offset points",
        ha="left" if right else "right",
    )


def heatmap(
    matrix: Any,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    number_format: str = "{:.3g}",
    mark: Sequence[tuple[int, int]] = (),
) -> Figure:
    """A small matrix, such as five users by five items, with its numbers written into the cells.

    Zero and NaN cells stay empty.

    Args:
        matrix: (n, m), dense, sparse or a tensor, at most 400 cells.
        rows: n names.
        columns: m names.
        title: one line above the matrix.
        number_format: how a number is written.
        mark: (row, column) of cells to frame.

    Raises:
        ValueError: if the names do not fit the matrix, or it is too large to read.
    """
    cells = np.asarray(matrix.toarray() if _is_sparse(matrix) else matrix, dtype=float)
    if cells.shape != (len(rows), len(columns)):
        raise ValueError(f"matrix must have shape {(len(rows), len(columns))}, got {cells.shape}")
    if not 0 < cells.size <= 400:
        raise ValueError(f"matrix must have 1 to 400 cells, got {cells.size}")
    matplotlib = _matplotlib()
    figure, axes = new_figure(1.4 + 0.75 * len(columns), 0.9 + 0.45 * len(rows))
    shown = np.where(np.isfinite(cells) & (cells != 0), cells, np.nan)
    limit = np.nanmax(np.abs(shown)) if np.isfinite(shown).any() else 1.0
    low = 0.0 if (np.nan_to_num(cells) >= 0).all() else -limit
    shades = matplotlib.colormaps["BrBG" if low else "Blues"]
    axes.imshow(shown, cmap=shades, vmin=low, vmax=1.6 * limit if low == 0 else limit)
    for row, column in np.argwhere(np.isfinite(shown)):
        value = cells[row, column]
        dark = abs(value) > 0.8 * limit and low < 0
        axes.text(
            column,
            row,
            number_format.format(value),
            ha="center",
            va="center",
            color="white" if dark else "black",
        )
    for row, column in mark:
        frame = {"fill": False, "edgecolor": COLORS[1], "linewidth": 2.5, "zorder": 3}
        axes.add_patch(matplotlib.patches.Rectangle((column - 0.5, row - 0.5), 1, 1, **frame))
    axes.set_xticks(range(len(columns)), list(columns))
    axes.set_yticks(range(len(rows)), list(rows))
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.set_xticks(np.arange(-0.5, len(columns)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(rows)), minor=True)
    axes.grid(which="minor", color="#c9d1d8", linewidth=1)
    axes.tick_params(which="minor", length=0)
    axes.set_title(title, loc="left")
    return figure


def _is_sparse(matrix: Any) -> bool:
    return bool(sparse.issparse(matrix))


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _image(figure: Figure, alt: str, *, hidden: bool = False) -> str:
    attributes = " hidden" if hidden else ""
    text = html.escape(alt, quote=True)
    return f'<img{attributes} alt="{text}" src="data:image/png;base64,{_png(figure)}">'


def _display(markup: str) -> None:
    from IPython.display import HTML, display

    display(HTML(markup))


def _checked_alt(alt: str) -> str:
    if len(alt.split()) < 3:
        raise ValueError(f"alt must say in words what the figure shows, got {alt!r}")
    return alt


def show(figure: Figure, *, alt: str) -> None:
    """Show a figure in a notebook as a picture with a text alternative.

    Args:
        figure: any matplotlib figure.
        alt: what the figure shows, for those who cannot see it; at least three words.

    Raises:
        ValueError: if ``alt`` says nothing.
    """
    _display(_image(figure, _checked_alt(alt)))


# The handler finds its pictures from the slider it belongs to, so that a page may have many.
_ON_INPUT = (
    "const box = this.closest('.slider-figure');"
    "box.querySelectorAll('img').forEach((img, n) => {img.hidden = n !== Number(this.value);});"
    "const label = JSON.parse(box.dataset.labels)[Number(this.value)];"
    "box.querySelector('output').textContent = label;"
    "this.setAttribute('aria-valuetext', label);"
)


def slider(frames: Sequence[Figure], labels: Sequence[str], *, title: str, alt: str) -> None:
    """Show one of several figures, chosen by a slider that works in a notebook and on a page.

    The pictures and a few lines of script stand in the output; there is no widget state, no
    kernel and no other file behind it.

    Args:
        frames: figures of equal size, in order.
        labels: what the slider's position means, one per figure.
        title: what the slider changes.
        alt: what the figures show; the label of each is added to it.

    Raises:
        ValueError: if there are fewer than two figures, labels do not fit, or ``alt`` says nothing.
    """
    _display(_slider_markup(frames, labels, title=title, alt=alt))


def _slider_markup(frames: Sequence[Figure], labels: Sequence[str], *, title: str, alt: str) -> str:
    if len(frames) < 2:
        raise ValueError(f"frames must be at least 2 figures, got {len(frames)}")
    if len(labels) != len(frames):
        raise ValueError(f"labels must be {len(frames)}, one per figure, got {len(labels)}")
    _checked_alt(alt)
    images = [
        _image(figure, f"{alt} ({title}: {label})", hidden=number > 0)
        for number, (figure, label) in enumerate(zip(frames, labels, strict=True))
    ]
    name, first = html.escape(title, quote=True), html.escape(labels[0], quote=True)
    texts = html.escape(json.dumps(list(labels), ensure_ascii=False), quote=True)
    handler = html.escape(_ON_INPUT, quote=True)
    return (
        f'<div class="slider-figure" data-labels="{texts}">{"".join(images)}'
        f'<div><label>{name}: <input type="range" min="0" max="{len(frames) - 1}" value="0" '
        f'step="1" autocomplete="off" aria-valuetext="{first}" oninput="{handler}"></label> '
        f"<output>{first}</output></div></div>"
    )
