"""Pictures of a sweep: how the best came about, which settings decide, and which combinations are good.

Drawn from plain values, so that they can be made again at any time. Colours and paper are those of `panels`; nothing
here touches matplotlib's global state.
"""

from __future__ import annotations

import io
import math
import statistics
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from glassgpt.files import write_atomically
from glassgpt.lab.panels import COLOURS, FAINT, GREY, INK, PAPER, TITLE
from glassgpt.lab.plan import Plan
from glassgpt.lab.space import Choices, Dimension, Value
from glassgpt.lab.trials import TrialRecord, best, finished, for_people

FEWEST_TO_WEIGH = 8  # finished trials; with fewer, importances are noise
MOST_MARKS = 8  # beside one axis
GOOD_TO_BAD = LinearSegmentedColormap.from_list("good to bad", ["#08306b", "#4292c6", "#fdae6b", "#f0d9c8"])
TEXT: Any = {"color": INK, "fontsize": 9, "parse_math": False}


def draw_sweep(
    plan: Plan, records: Sequence[TrialRecord], importances: Mapping[str, float], *, unit: str
) -> dict[str, Path]:
    """history.png, importance.png and parallel.png in the sweep's folder."""
    figures = {
        "history": _history(records, unit),
        "importance": _importance(importances, len(finished(records))),
        "parallel": _parallel(plan.space.dimensions, records, unit),
    }
    files = {name: plan.folder / f"{name}.png" for name in figures}
    for name, figure in figures.items():
        _save(figure, files[name])
    return files


def ceiling(values: Sequence[float]) -> float:
    """Where a picture ends above: one trial that went wrong should not press all others into a line.

    `ceiling([2.0, 2.1, 2.2, 2.3, 900.0]) < 3`
    """
    low, middle, high = min(values), statistics.median(values), max(values)
    return high if high <= low + 4 * (middle - low) else low + 3 * (middle - low)


def _sheet(title: str, *, width: float = 8.0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, 4.8), dpi=150, facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot(facecolor=PAPER)
    axes.set_title(title, **TITLE)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(colors=INK, length=0)
    return figure, axes


def _empty(axes: Axes, words: str) -> None:
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", **TEXT)
    axes.set(xticks=[], yticks=[])


def _history(records: Sequence[TrialRecord], unit: str) -> Figure:
    figure, axes = _sheet(f"each trial's held-out loss, in {unit}")
    valued = [record for record in records if record.value is not None and record.is_done]
    if not valued:
        _empty(axes, "no trial has ended yet")
        return figure
    top = ceiling([record.value for record in valued if record.value is not None])
    _draw_trials(axes, [record for record in valued if record.state == "pruned"], "stopped early", top=top, colour=GREY)
    _draw_trials(axes, finished(records), "finished", top=top, colour=COLOURS[0])
    failed = [record.number for record in records if record.state == "failed"]
    if failed:
        axes.plot(failed, [0.02] * len(failed), "x", color=COLOURS[1], transform=axes.get_xaxis_transform(),
                  label="failed (no value)")  # fmt: skip
    _draw_best_so_far(axes, records, top)
    axes.set_xlabel("trial", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12, min_n_ticks=1))
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    figure.legend(loc="outside lower left", ncols=4, frameon=False, labelcolor=INK, fontsize=9)
    return figure


def _draw_trials(axes: Axes, records: Sequence[TrialRecord], label: str, *, top: float, colour: str) -> None:
    inside = [(record.number, record.value) for record in records if record.value is not None and record.value <= top]
    above = [record.number for record in records if record.value is not None and record.value > top]
    look: Any = {"linestyle": "none", "color": colour, "markeredgecolor": PAPER, "zorder": 3}
    if inside:
        axes.plot(*zip(*inside, strict=True), marker="o", markersize=6, label=label, **look)
    if above:
        axes.plot(above, [top] * len(above), marker="^", markersize=7, label=f"{label}, higher than drawn", **look)


def _draw_best_so_far(axes: Axes, records: Sequence[TrialRecord], top: float) -> None:
    done = finished(records)
    winner = best(records)
    if winner is None or winner.value is None:
        return
    lowest = math.inf
    places, values = [], []
    for record in done:
        lowest = min(lowest, record.value if record.value is not None else math.inf)
        places.append(record.number)
        values.append(min(lowest, top))
    last = max(record.number for record in records)
    axes.step([*places, last], [*values, values[-1]], where="post", color=COLOURS[0], alpha=0.5, linewidth=1.6,
              label=f"best so far: {winner.value:.4f} (trial {winner.number})")  # fmt: skip


def _importance(importances: Mapping[str, float], count: int) -> Figure:
    figure, axes = _sheet(f"what the best quarter of the {count} finished trials have in common")
    if not importances:
        _empty(axes, f"{FEWEST_TO_WEIGH} finished trials are needed to weigh the settings; there are {count}")
        return figure
    rows = sorted(importances.items(), key=lambda item: item[1])
    bars = axes.barh([name for name, _ in rows], [share for _, share in rows], color=COLOURS[0], height=0.6)
    axes.bar_label(bars, [f"{share:.0%}" for _, share in rows], padding=5, color=INK, fontsize=9)
    axes.set_xlim(0, max(share for _, share in rows) * 1.12 or 1)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel("share of importance (PED-ANOVA)" + ("; so few trials give a hint only" if count < 40 else ""),
                    color=INK)  # fmt: skip
    return figure


def _parallel(dimensions: Sequence[Dimension], records: Sequence[TrialRecord], unit: str) -> Figure:
    """A line for each trial across all its settings to its loss; the better, the darker and the further in front."""
    figure, axes = _sheet("every trial from its settings to its loss; the darker, the better",
                          width=max(8.0, 2.0 + 1.6 * len(dimensions)))  # fmt: skip
    valued = sorted((r for r in records if r.value is not None and r.is_done), key=lambda r: -(r.value or 0))
    if not valued:
        _empty(axes, "no trial has ended yet")
        return figure
    losses = [record.value for record in valued if record.value is not None]
    low, top = min(losses), ceiling(losses)
    for rank, record in enumerate(valued):
        heights = [_height(dimension, record.params.get(dimension.name)) for dimension in dimensions]
        heights.append(0.5 if top == low else (min(record.value or low, top) - low) / (top - low))
        badness = 1 - rank / max(1, len(valued) - 1)
        is_best = rank == len(valued) - 1
        axes.plot(heights, color=GOOD_TO_BAD(badness), linewidth=3.0 if is_best else 1.4, zorder=2 + rank,
                  linestyle="dotted" if record.state == "pruned" else "solid")  # fmt: skip
    for place, dimension in enumerate(dimensions):
        _scale(axes, place, _marks(dimension))
    last = len(dimensions)
    _scale(axes, last, [(low + share * (top - low), share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)])
    axes.set_xticks(range(last + 1), [dimension.name for dimension in dimensions] + [f"loss\n({unit})"])
    axes.set(yticks=[], ylim=(-0.06, 1.06), xlim=(-0.2, last + 0.45))
    axes.spines["bottom"].set_visible(False)
    if any(record.state == "pruned" for record in valued):
        axes.text(1.0, 1.03, "dotted: stopped early", transform=axes.transAxes, ha="right", **TEXT)
    return figure


def _height(dimension: Dimension, value: Value) -> float:
    """Where on its axis a value lies, from 0 to 1."""
    if isinstance(dimension, Choices):
        place = next(
            (i for i, choice in enumerate(dimension.values) if choice == value and type(choice) is type(value)), 0
        )
        return 0.5 if len(dimension.values) == 1 else place / (len(dimension.values) - 1)
    low, high, number = dimension.low, dimension.high, float(value or 0)
    if dimension.log:
        low, high, number = math.log(low), math.log(high), math.log(number)
    return 0.5 if low == high else (number - low) / (high - low)


def _marks(dimension: Dimension) -> list[tuple[Value, float]]:
    """What is written beside an axis: every choice, or some values of a range."""
    if isinstance(dimension, Choices):
        return [(value, _height(dimension, value)) for value in dimension.values]
    low, high, step = dimension.low, dimension.high, dimension.step
    if step is not None and (high - low) / step <= MOST_MARKS:
        steps = [low + place * step for place in range(int((high - low) / step + 1e-9) + 1)]
        return [(value, _height(dimension, value)) for value in steps]
    values = [low * (high / low) ** share if dimension.log else low + share * (high - low) for share in (0, 0.5, 1)]
    if dimension.whole:
        values = sorted({round(value) for value in values})
    return [(value, _height(dimension, value)) for value in values]


def _scale(axes: Axes, place: int, marks: Sequence[tuple[Value, float]]) -> None:
    axes.plot([place, place], [0, 1], color=INK, linewidth=1.0, zorder=1000)
    label: Any = {"boxstyle": "square,pad=0.1", "facecolor": PAPER, "alpha": 0.75, "edgecolor": "none"}
    for value, height in marks:
        text = f"{value:.3g}" if isinstance(value, float) else for_people(value)
        axes.annotate(text, (place, height), xytext=(4, 0), textcoords="offset points", va="center", zorder=1001,
                      bbox=label, **TEXT)  # fmt: skip


def _save(figure: Figure, out: Path) -> None:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a choice may be written in any script
        figure.savefig(content, format="png", metadata={"Software": None})  # the same bytes for the same trials
    write_atomically(out, [content.getvalue()])
