"""`glassgpt bench --profile`: what a training step is spent on, and what it could be, as a table.

Measured by `lab/profile.py`; the flag and the choice of the model are those of `bench.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from glassgpt.cli.terminal import bytes_for_people
from glassgpt.errors import ConfigError

if TYPE_CHECKING:
    from glassgpt.lab.bench import MachinePeak, Subject
    from glassgpt.lab.profile import Profile

SMALL_SHARE = 0.01  # of a run, that saving may take


def profiled(subject: Subject, peak: MachinePeak, report: dict[str, Any], *, seconds: float) -> Iterator[str]:
    """The table, line by line; the same figures go into the report."""
    from glassgpt.lab.profile import profile
    from glassgpt.lab.work import work

    if subject.model.config.architecture != "gpt":
        raise ConfigError("--profile takes a GPT apart, and the bigram model is one table")
    training, seen = subject.training, profile(subject, seconds=seconds)
    half = subject.machine.precision != "fp32"
    least = work(subject.model.config, training, half=half)
    limits = {part: needs.limit_s(peak.flops_per_s, seen.memory_rate) for part, needs in least.items()}
    report["profile"] = asdict(seen) | {
        "parts": [{"part": part, "direction": way, "seconds": s} for (part, way), s in sorted(seen.parts.items())],
        "work": {part: asdict(needs) | {"limit_s": limits[part]} for part, needs in least.items()},
    }
    yield f"memory      {seen.memory_rate / 1e9:,.1f} GB/s (measured: a copy of 256 MB, read and written)"
    yield ""
    yield f"{'ms of a step':16}{'forward':>9}{'back':>9}{'share':>8}{'GFLOP':>9}{'MB':>9}{'limit':>9}{'of it':>8}"
    yield from _rows(seen, {part: (needs.flops, needs.moved_bytes, limits[part]) for part, needs in least.items()})
    yield f"not compiled, and waited for at each border; without that a step takes {1000 * seen.step_s:,.2f} ms"
    yield ""
    yield from _beside(subject, seen)


def _rows(seen: Profile, least: dict[str, tuple[int, int, float]]) -> Iterator[str]:
    from glassgpt.lab.profile import BACKWARD, FORWARD
    from glassgpt.lab.work import PARTS

    for part in PARTS:
        ways = [seen.parts.get((part, way), 0.0) for way in (FORWARD, BACKWARD)]
        yield _row(part, ways, seen.marked_s, least.get(part))
    both = [sum(s for (_, way), s in seen.parts.items() if way == wanted) for wanted in (FORWARD, BACKWARD)]
    flops, moved, limits = (sum(column) for column in zip(*least.values(), strict=True))
    yield _row("together", both, seen.marked_s, (int(flops), int(moved), limits))


def _row(name: str, ways: list[float], whole_s: float, least: tuple[int, int, float] | None) -> str:
    forward_s, back_s = ways
    line = f"{name:16}{1000 * forward_s:>9,.2f}{1000 * back_s:>9,.2f}{(forward_s + back_s) / whole_s:>8.1%}"
    if least is None:
        return line
    flops, moved, limit_s = least
    of_it = f"{limit_s / (forward_s + back_s):>8.0%}" if forward_s + back_s else ""
    return f"{line}{flops / 1e9:>9,.1f}{moved / 1e6:>9,.1f}{1000 * limit_s:>9,.2f}{of_it}"


def _beside(subject: Subject, seen: Profile) -> Iterator[str]:
    """What a run does beside its steps, as shares of the steps between two of them."""
    from glassgpt.lab.profile import save_every_for

    training = subject.training
    if training.eval_batches:
        every, count = training.eval_every or training.max_steps, training.eval_batches
        whole_s = count * seen.evaluation_s
        yield f"evaluation  {1000 * whole_s:,.1f} ms for {count} batches: {_share(whole_s, every, seen)}"
    else:
        yield f"evaluation  {1000 * seen.evaluation_s:,.1f} ms a batch"
    every = training.save_every or training.max_steps
    size = bytes_for_people(seen.saved_bytes)
    yield f"saving      {1000 * seen.saving_s:,.1f} ms for {size}: {_share(seen.saving_s, every, seen)}"
    enough = save_every_for(SMALL_SHARE, seen.saving_s, seen.step_s)
    if enough > every:
        yield f"            --save-every {enough} would make that {SMALL_SHARE:.0%}"


def _share(seconds: float, every: int, seen: Profile) -> str:
    return f"{seconds / (seconds + every * seen.step_s):.2%} of the run, every {every:,} steps"
