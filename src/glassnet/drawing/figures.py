"""Figures of boundaries, learning curves and distributions, and how a figure becomes SVG.

Matplotlib is imported when the first one is asked for, and pyplot, with its global state, never.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet.cells import counted
from glassnet.errors import UsageError
from glassnet.svg import BLUE, INK, MUTED, ORANGE, cleaned, scope_of, shortened, significant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PERCENTILES = (5.0, 50.0, 95.0)


def _plain(name: object, longest: int = 40) -> str:
    """A name as matplotlib shall show it: dollar signs are dollar signs, not mathematics."""
    return shortened(cleaned(name), longest).replace("$", r"\$")


def _new_figure(description: str, width: float, height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.set_label(description)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _checked_rows(X: ArrayLike, y: ArrayLike, what: str) -> tuple[NDArray[Any], NDArray[Any]]:
    table, target = np.asarray(X, dtype=float), np.asarray(y, dtype=float).reshape(-1)
    if table.ndim != 2 or table.shape[1] != 2 or len(table) != len(target) or not np.isfinite(table).all():
        raise UsageError(
            f"The {what} rows are finite numbers (n, 2) with a target each; got {table.shape} and {target.shape}."
        )
    if not np.isin(target, (0, 1)).all():
        raise UsageError(f"The {what} targets are 0 or 1; got {target[~np.isin(target, (0, 1))][0]:g}.")
    return table, target.astype(int)


def boundary_figure(
    probability: Callable[[NDArray[np.float64]], ArrayLike],
    X_train: ArrayLike,
    y_train: ArrayLike,
    X_test: ArrayLike,
    y_test: ArrayLike,
    *,
    feature_names: Sequence[str],
    class_names: Sequence[str],
    title: str | None = None,
) -> Figure:
    """What a classifier makes of two features: bands of its probability, p = 0.5, and the rows themselves.

    `probability`: (n, 2) in the user's units -> (n,) or (n, 1), P(positive). `X_train`, `X_test` (n, 2) in the user's
    units, `y_train`, `y_test` 0 or 1. `class_names`: the negative class, then the positive. Train rows are small
    dots, test rows diamonds, test rows on the wrong side (positive where p > 0.5) have a ring.
    Raises `UsageError` for other shapes, targets, or what is no probability.

    >>> def steps(X): return 1 / (1 + np.exp(-X[:, 0]))
    >>> rows, classes = np.array([[-1.0, 0.0], [2.0, 1.0]]), np.array([0, 1])
    >>> figure = boundary_figure(
    ...     steps, rows, classes, rows, classes, feature_names=["x1", "x2"], class_names=["no", "yes"])
    >>> figure.axes[0].get_xlabel()
    'x1'
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.lines import Line2D

    if len(feature_names) != 2 or len(class_names) != 2:
        raise UsageError(f"Two features and two classes are named; got {len(feature_names)} and {len(class_names)}.")
    X_train, y_train = _checked_rows(X_train, y_train, "train")
    X_test, y_test = _checked_rows(X_test, y_test, "test")
    rows = np.concatenate([X_train, X_test])
    if len(rows) == 0:
        raise UsageError("A boundary is drawn over at least one row; got none.")

    def checked_probability(table: NDArray[np.float64]) -> NDArray[np.float64]:
        p = np.asarray(probability(table), dtype=float).reshape(-1)
        if p.shape != (len(table),) or not ((p >= 0) & (p <= 1)).all():
            raise UsageError(f"probability gives one number from 0 to 1 per row; got {p} for {len(table)} rows.")
        return p

    low, high = rows.min(axis=0), rows.max(axis=0)
    border = np.where(high > low, 0.05 * (high - low), np.maximum(0.05 * np.abs(low), 0.5))
    across, up = (np.linspace(a, b, 161) for a, b in zip(low - border, high + border, strict=True))
    mesh = np.stack(np.meshgrid(across, up), axis=-1)
    surface = checked_probability(mesh.reshape(-1, 2)).reshape(mesh.shape[:2])
    wrong = (checked_probability(X_test) > 0.5) != (y_test == 1) if len(X_test) else np.zeros(0, dtype=bool)

    negative, positive = (_plain(name, 30) for name in class_names)
    horizontal, vertical = (_plain(name) for name in feature_names)
    figure, axes = _new_figure(f"Decision boundary over {horizontal} and {vertical}", 7.0, 5.6)
    colours = LinearSegmentedColormap.from_list("probability", ["#f5c19d", "#fbe9dd", "#f7f7f7", "#dcebf5", "#9dcbe6"])
    bands = axes.contourf(across, up, surface, levels=np.linspace(0, 1, 11), cmap=colours, vmin=0, vmax=1)
    bar = figure.colorbar(bands, ax=axes, ticks=np.linspace(0, 1, 6), pad=0.02)
    bar.set_label(f"P({positive})")
    entries: list[tuple[Any, str]] = []

    def points(table: NDArray[Any], label: str, **look: Any) -> None:
        handle = axes.plot(table[:, 0], table[:, 1], linestyle="none", rasterized=len(table) > 2000, **look)[0]
        entries.append((handle, label))

    for value, name, colour in ((0, negative, ORANGE), (1, positive, BLUE)):
        dots = {"marker": "o", "markersize": 3.2, "color": colour, "alpha": 0.6, "markeredgewidth": 0}
        points(X_train[y_train == value], f"train: {name}", **dots)
        diamonds = {"marker": "D", "markersize": 6.2, "color": colour, "markeredgecolor": "white"}
        points(X_test[y_test == value], f"test: {name}", markeredgewidth=0.9, zorder=3, **diamonds)
    ring = {"marker": "o", "markersize": 12, "color": "none", "markeredgecolor": INK, "markeredgewidth": 1.3}
    points(X_test[wrong], f"test, misclassified: {int(wrong.sum())} of {len(X_test)}", zorder=4, **ring)
    if surface.min() < 0.5 < surface.max():
        axes.contour(across, up, surface, levels=[0.5], colors=[INK], linewidths=2)
        entries.append((Line2D([], [], color=INK, linewidth=2), f"P({positive}) = 0.5"))
    else:
        side = positive if surface.min() > 0.5 else negative
        entries.append((Line2D([], [], linestyle="none"), f"no boundary: {side} everywhere"))
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(up[0], up[-1])
    axes.set_xlabel(horizontal)
    axes.set_ylabel(vertical)
    if title is not None:
        axes.set_title(_plain(title, 90), loc="left", fontsize=11)
    handles, labels = zip(*entries, strict=True)
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def learning_curves_figure(
    losses: ArrayLike,
    kept: int,
    *,
    baseline: Mapping[str, ArrayLike] | None = None,
    labels: tuple[str, str] = ("epoch", "training loss"),
) -> Figure:
    """Every random start's learning curve, their 5 to 95 % band and median, and the start that was kept.

    `losses` (starts, epochs + 1), the first column before any update; `kept`: the row that was kept. `baseline`:
    further curves by name, each (any number of epochs + 1,), say the by-hand run's. `labels`: the axes'. A curve that
    is not finite is drawn until then and counted in the note; band and median are over the starts finite at that epoch.
    The y axis is logarithmic where the curves span more than a factor of 30. Where a few starts would flatten all
    others, they leave the frame at the top, and the note says how many. Raises `UsageError` for another shape.

    >>> figure = learning_curves_figure([[0.9, 0.5, 0.4], [0.8, 0.7, 0.65]], kept=0)
    >>> figure.axes[0].get_ylabel()
    'training loss'
    """
    from matplotlib.collections import LineCollection
    from matplotlib.ticker import MaxNLocator

    curves = np.array(losses, dtype=float)
    if curves.ndim != 2 or curves.size == 0:
        raise UsageError(f"losses has a row per start and a column per epoch, and one before; got {curves.shape}.")
    n_starts, n_epochs = curves.shape
    if not 0 <= kept < n_starts:
        raise UsageError(f"kept is a start from 0 to {n_starts - 1}; got {kept}.")
    finite = np.isfinite(curves)
    n_diverged = int((~finite.all(axis=1)).sum())
    curves[~finite] = np.nan
    epochs = np.arange(n_epochs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an epoch at which no start is finite has no percentiles
        low, median, high = np.nanpercentile(curves, _PERCENTILES, axis=0)
    named = {_plain(name): np.asarray(curve, dtype=float).reshape(-1) for name, curve in (baseline or {}).items()}

    horizontal, vertical = (_plain(label) for label in labels)
    figure, axes = _new_figure(f"Learning curves of {counted(n_starts, 'random start')}", 7.0, 4.6)
    segments = np.stack(np.broadcast_arrays(epochs.astype(float), curves), axis=-1)
    faint = LineCollection(
        list(segments), colors=[MUTED], linewidths=0.7, alpha=min(0.6, max(0.05, 12 / n_starts)), rasterized=True
    )
    axes.add_collection(faint)  # rasterized: a thousand curves as paths are megabytes
    entries: list[tuple[Any, str]] = []
    if n_starts > 1:
        band = axes.fill_between(epochs, low, high, color=BLUE, alpha=0.16, linewidth=0)
        entries.append((band, "5 to 95 % of the starts"))
        entries.append((axes.plot(epochs, median, color=INK, linewidth=1.8, linestyle="--")[0], "median"))
    entries.append((axes.plot(epochs, curves[kept], color=BLUE, linewidth=2.6)[0], f"kept: start {kept}"))
    for (name, curve), dashes in zip(named.items(), ("-", "-.", ":", "--") * len(named), strict=False):
        shown = np.where(np.isfinite(curve), curve, np.nan)
        handle = axes.plot(np.arange(len(curve)), shown, color=ORANGE, linewidth=2.2, linestyle=dashes)[0]
        entries.append((handle, name))

    strong = np.concatenate([low, high, curves[kept], *named.values()])
    strong = strong[np.isfinite(strong)]
    note = [counted(n_starts, "random start")]
    if n_diverged:
        note.append(f"{n_diverged:,} diverged, drawn until then")
    if strong.size:
        everything = np.concatenate([strong, curves[finite]])
        top, bottom = float(strong.max()), float(everything.min())
        if bottom > 0 and top / float(strong.min()) > 30:
            axes.set_yscale("log")
            top, bottom = float(everything.max()) * 1.2, bottom / 1.2
        else:
            border = 0.04 * (top - bottom) or 0.5
            top, bottom = top + 2 * border, bottom - border
            n_above = int((np.nan_to_num(curves, nan=-np.inf) > top).any(axis=1).sum())
            if n_above:
                note.append(f"{n_above:,} leave the frame at the top")
        axes.set_ylim(bottom, top)
    axes.set_xlim(0, max([n_epochs - 1, 1, *(len(curve) - 1 for curve in named.values())]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(horizontal)
    axes.set_ylabel(vertical)
    axes.set_title("; ".join(note), loc="left", fontsize=9, color=MUTED)
    handles, names = zip(*entries, strict=True)
    axes.legend(handles, names, frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)
    return figure


def _bin_edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of a histogram's bins. Scores of n rows lie on a grid of 1 / n: each bin spans as many of its points."""
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # one value, rounding aside
        reach = 0.1 * abs(low) or 0.1
        return np.linspace(low - reach, high + reach, 42)
    places = np.unique(np.round((values - low) / (high - low), 9))
    steps = places / np.diff(places).min()
    n_steps = round(float(steps[-1]))
    if places.size >= 8 and n_steps < 10_000 and np.abs(steps - np.rint(steps)).max() < 1e-3:
        per_bin = math.ceil((n_steps + 1) / 45)
        marks = np.arange(0, n_steps + 1 + per_bin, per_bin, dtype=np.float64) - 0.5
        return low + marks * ((high - low) / n_steps)
    return np.linspace(low, high, 41)


def distribution_figure(values: ArrayLike, *, label: str, marks: Mapping[str, float] | None = None) -> Figure:
    """How a result is distributed over random starts: a histogram, its median and its 5 to 95 % interval.

    `values` (starts,), say each start's test accuracy; `label`: what they are. `marks`: further values by name, each a
    labelled line, say the notebook's figure. Values that are not finite are left out and counted in the note.
    Raises `UsageError` where no value is finite, or a mark is not.

    >>> figure = distribution_figure([0.6, 0.7, 0.9], label="test accuracy", marks={"the notebook": 0.64})
    >>> figure.axes[0].get_xlabel()
    'test accuracy'
    """
    from matplotlib.ticker import MaxNLocator

    everything = np.asarray(values, dtype=float).reshape(-1)
    kept = everything[np.isfinite(everything)]
    if kept.size == 0:
        raise UsageError(f"A distribution needs a finite value; got {everything.size} values, none finite.")
    named = [(_plain(name, 30), float(value)) for name, value in (marks or {}).items()]
    for name, value in named:
        if not math.isfinite(value):
            raise UsageError(f"A mark is a finite value; got {value} for {name!r}.")
    low, median, high = np.percentile(kept, _PERCENTILES)

    shown = _plain(label)
    figure, axes = _new_figure(f"Distribution of {shown} over {counted(kept.size, 'random start')}", 7.0, 4.2)
    edges = _bin_edges(kept)
    heights, _, bars = axes.hist(kept, bins=edges, color="#a9bccb", edgecolor="white", linewidth=0.6)
    tallest = float(heights.max())
    for bar, left, right in zip(bars, edges[:-1], edges[1:], strict=True):
        if low <= (left + right) / 2 <= high:
            bar.set_facecolor("#5f93bd")

    # Every line has a flag at its own height, so no two labels meet. Flags point towards the middle, the outermost is
    # the highest, so that it passes above the other lines.
    ends = [*(value for _, value in named), float(edges[0]), float(edges[-1])]
    start, stop = min(ends), max(ends)
    border, middle = 0.03 * (stop - start), (start + stop) / 2
    pitch = 0.085 * tallest
    flags = [(f"median {significant(median)}", float(median), INK, INK, "-")]
    flags += [(f"{name} {significant(value)}", value, ORANGE, "#a84a00", "--") for name, value in named]
    flags.sort(key=lambda flag: abs(flag[1] - middle))
    for row, (text, value, line_colour, text_colour, dashes) in enumerate(flags):
        height, side = tallest + pitch * (row + 0.9), 1 if value < middle else -1
        axes.plot([value, value], [0, height], color=line_colour, linewidth=1.6, linestyle=dashes)
        axes.annotate(
            text,
            (value, height),
            xytext=(4 * side, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=9,
            color=text_colour,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )
    axes.set_xlim(start - border, stop + border)
    axes.set_yticks(
        [tick for tick in MaxNLocator(integer=True, steps=[1, 2, 5, 10]).tick_values(0, tallest) if tick <= tallest]
    )
    axes.set_ylim(0, tallest + pitch * (len(flags) + 1))
    axes.set_xlabel(shown)
    axes.set_ylabel("random starts")
    note = f"{counted(kept.size, 'random start')}; 5 to 95 %: {significant(low)} to {significant(high)} (darker)"
    if everything.size > kept.size:
        note += f"; {everything.size - kept.size:,} not finite, left out"
    axes.set_title(note, loc="left", fontsize=9, color=MUTED)
    return figure


def figure_svg(figure: Figure) -> str:
    """A figure as SVG text, the same for the same figure, that may be a file or be put into a page.

    Text stays text. There is no date in it, its ids are its own, and its rules apply to itself alone, so that several
    may share a page.

    >>> svg = figure_svg(distribution_figure([0.6, 0.7, 0.9], label="test accuracy"))
    >>> svg.startswith("<svg "), svg == figure_svg(distribution_figure([0.6, 0.7, 0.9], label="test accuracy"))
    (True, True)
    """
    import matplotlib

    written = io.StringIO()
    title = str(figure.get_label()).replace(r"\$", "$")
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.hashsalt": "glassnet", "svg.fonttype": "none"}):
        # The text is set by the viewer's fonts, which have the glyphs that matplotlib's may lack.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(written, format="svg", dpi=144, metadata={"Date": None, "Creator": None, "Title": title})
    svg = written.getvalue()
    svg = svg[svg.index("<svg ") :]
    scope = scope_of(svg)
    # Inside tags only: a column may be called id="x".
    svg = re.sub("<[^<>]+>", lambda tag: re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{scope}-", tag[0]), svg)
    svg = svg.replace(
        "*{stroke-linejoin: round; stroke-linecap: butt}", f".{scope} *{{stroke-linejoin:round;stroke-linecap:butt}}"
    )
    name = escape(title, quote=False).replace('"', "&quot;")
    root = f'<svg role="img" aria-label="{name}" class="{scope}" style="max-width:100%;height:auto" '
    return svg.replace("<svg ", root, 1)
