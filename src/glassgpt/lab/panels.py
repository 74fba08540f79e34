"""One panel of a picture: some runs' values over steps, tokens or time, with colours and scales that suit them.

Colours are apart for the colour-blind too. A run alone shows its two losses in two colours; of several runs each has
one colour, its training loss as a line and its held-out losses as points. Files and legends are the business of `plot`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

from glassgpt.lab.logs import Log

INK, PAPER, FAINT, GREY = "#1f2933", "#ffffff", "#d9dee3", "#66737f"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito
STROKES = ("solid", "dashed", "dotted")  # when there are more runs than colours
REFERENCE_STROKES = ((0, (1, 2)), (0, (5, 2, 1, 2)), (0, (9, 3)), (0, (3, 2, 1, 2, 1, 2)))
TITLE: Any = {"loc": "left", "color": INK, "fontsize": 12, "pad": 12, "parse_math": False}
ROUND = (1, 2, 2.5, 5, 10)  # distances between ticks, but for time, which is counted in sixties
TIME_UNITS = {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0}


@dataclass(frozen=True)
class Panel:
    column: str
    title: str


PANELS = {
    "loss": Panel("train_loss", "loss in nats per token"),
    "learning_rate": Panel("learning_rate", "learning rate"),
    "gradient_norm": Panel("gradient_norm", "gradient norm"),
    "throughput": Panel("tokens_per_s", "tokens per second"),
}


@dataclass(frozen=True, kw_only=True)
class Look:
    """How pictures are drawn, where the run's own way is not wanted."""

    x: str = "step"  # or tokens, or seconds
    window: float | None = None  # of the moving mean: in points, or below 1 as a share of them; 0 for none
    references: Mapping[str, float] = field(default_factory=dict)  # losses to compare with, by name


@dataclass(frozen=True, kw_only=True)
class Pen:
    colour: str
    stroke: str
    unit: float  # how many of the log's own units one unit of the picture has
    look: Look


def draw_panel(axes: Axes, name: str, runs: Sequence[Log], look: Look) -> None:
    """All runs in the panel `name` of PANELS, labelled for a legend that is drawn elsewhere."""
    unit = _prepare(axes, PANELS[name], runs, look)
    pens = itertools.cycle(itertools.product(STROKES, COLOURS))
    for run, (stroke, colour) in zip(runs, pens, strict=False):
        pen = Pen(colour=colour, stroke=stroke, unit=unit, look=look)
        if name == "loss" and len(runs) == 1:
            _draw_alone(axes, run, pen)
        else:
            _draw_among(axes, name, run, pen)
    if not axes.has_data():
        axes.text(0.5, 0.5, "nothing logged yet", transform=axes.transAxes, ha="center", color=INK)
        axes.set(xticks=[], yticks=[])
        return
    if name == "loss":
        _draw_levels(axes, runs, look)
        if len(runs) > 1:
            axes.set_title(f"{PANELS[name].title}: lines while training, points held out", **TITLE)
    _scale(axes, name)


def _prepare(axes: Axes, panel: Panel, runs: Sequence[Log], look: Look) -> float:
    axes.set_facecolor(PAPER)
    axes.set_title(panel.title, **TITLE)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.tick_params(which="both", colors=INK, length=0)
    steps = (1, 1.5, 2, 3, 5, 6, 10) if look.x == "seconds" else ROUND
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=steps, integer=look.x == "step", min_n_ticks=1))
    longest = max((max(run.points(panel.column, look.x)[0], default=0.0) for run in runs), default=0.0)
    unit, name = _unit(look.x, longest)
    axes.set_xlabel(name, color=INK)
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if look.x == "tokens" else "{x:,.10g}")
    return unit


def _unit(x: str, longest: float) -> tuple[float, str]:
    """`_unit("seconds", 7200.0) == (60.0, "minutes of training")`: the largest that is passed a few times."""
    if x != "seconds":
        return 1.0, {"step": "step", "tokens": "tokens read"}[x]
    name = next((name for name, seconds in TIME_UNITS.items() if longest >= 3 * seconds), "seconds")
    return TIME_UNITS[name], f"{name} of training"


def _draw_alone(axes: Axes, run: Log, pen: Pen) -> None:
    """One run shows its two losses apart."""
    best = run.best()
    held_out = f"held-out text, best {best[1]:.3f} at step {best[0]:,.0f}" if best else "held-out text"
    _draw_line(axes, run, "train_loss", pen, "training text")
    _draw_held_out(axes, run, replace(pen, colour=COLOURS[1]), held_out)


def _draw_among(axes: Axes, name: str, run: Log, pen: Pen) -> None:
    label = f" {run.label}" if run.label.startswith("_") else run.label  # legends leave out names that begin with _
    best = run.best() if name == "loss" else None
    drawn = _draw_line(axes, run, PANELS[name].column, pen, f"{label}, best {best[1]:.3f}" if best else label)
    if name == "loss":
        _draw_held_out(axes, run, pen, None if drawn or not best else f"{label}, best {best[1]:.3f}")


def _draw_line(axes: Axes, run: Log, column: str, pen: Pen, label: str) -> bool:
    """Every value faintly, and their moving mean over it; a learning rate has no noise to smooth."""
    places, values = run.points(column, pen.look.x)
    places = [place / pen.unit for place in places]
    means = values if column == "learning_rate" else smooth(values, window=pen.look.window)
    if means != values:
        axes.plot(places, values, color=pen.colour, alpha=0.25, linewidth=1)
    if values:
        marker = "o" if len(values) == 1 else ""  # one point makes no line
        axes.plot(
            places,
            means,
            color=pen.colour,
            linestyle=pen.stroke,
            linewidth=1.8,
            marker=marker,
            markersize=4,
            label=label,
        )
    return bool(values)


def smooth(values: Sequence[float], *, window: float | None = None) -> list[float]:
    """The mean over a window around each value; narrow at the steep start, where a wide one would lie above it.

    A window of 1 or more counts values, one below 1 is a share of them; left out, it is a fifteenth.
    """
    window = 1 / 15 if window is None else window
    most = int((window * len(values) if window < 1 else window) / 2)
    sums = [0.0, *itertools.accumulate(values)]
    means = []
    for place in range(len(values)):
        reach = min(most, place // 4)
        first, last = place - reach, min(place + reach, len(values) - 1)
        means.append((sums[last + 1] - sums[first]) / (last + 1 - first) if reach else values[place])
    return means


def _draw_held_out(axes: Axes, run: Log, pen: Pen, label: str | None) -> None:
    """A point for each evaluation, and a ring around the best."""
    places, values = run.points("val_loss", pen.look.x)
    if not values:
        return
    places = [place / pen.unit for place in places]
    points: dict[str, Any] = {"linestyle": "none", "marker": "o", "color": pen.colour, "zorder": 3}
    axes.plot(places, values, markersize=5.5, markeredgecolor=PAPER, markeredgewidth=0.6, label=label, **points)
    if best := run.best(pen.look.x):
        axes.plot([best[0] / pen.unit], [best[1]], markersize=10, markerfacecolor="none", **points)


def _draw_levels(axes: Axes, runs: Sequence[Log], look: Look) -> None:
    """Losses that were not trained for here: what chance itself leaves, and what others have reached."""
    for floor in sorted(set().union(*(run.floors() for run in runs))):
        axes.axhline(floor, color=INK, linewidth=1.2, linestyle=(0, (6, 4)), label=f"floor {floor:.3f}")
    for (name, loss), stroke in zip(look.references.items(), itertools.cycle(REFERENCE_STROKES), strict=False):
        axes.axhline(loss, color=GREY, linewidth=1.4, linestyle=stroke, label=f"{name} {loss:.4g}")


def _scale(axes: Axes, name: str) -> None:
    low, high = axes.dataLim.intervaly
    if name == "loss" and low > 0:
        _scale_losses(axes, low, high)
    elif name == "gradient_norm" and low > 0 and high > 20 * low:  # a few early giants would flatten all others
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")
    elif name != "loss":
        axes.set_ylim(0, 1.05 * high if high > 0 else None)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=ROUND))
        axes.yaxis.set_major_formatter("{x:,.0f}" if name == "throughput" else "{x:g}")


def _scale_losses(axes: Axes, low: float, high: float) -> None:
    """Logarithmic, for the last tenth of a nat is as hard to win as the first whole one."""
    axes.set_yscale("log")
    if high < 2 * low:  # too near for the round numbers of a logarithmic scale
        axes.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=ROUND))
    else:
        subs = (1, 1.5, 2, 3, 4, 6, 8) if high > 6 * low else (1, 1.25, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8)
        axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=30))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
