"""A sweep: many small runs in search of good settings, told as a stream of events.

    for event in go(read_plan("configs/sweep.yaml", ...)): ...      # the terminal prints them
    print(sweep("configs/sweep.yaml", trials=20).settings)          # from Python

The same sweep may run in several processes, on one machine or many, and may be stopped or killed at any moment: whoever
comes next goes on. What is searched is read in `plan.py`, shared in `study.py`, trained in `trial.py`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassgpt.data.prepare import Progress as Watcher
from glassgpt.errors import ConfigError, MissingExtraError, RunError
from glassgpt.files import write_text
from glassgpt.lab.plan import FILE, Plan, default_file, read_plan
from glassgpt.lab.space import Value
from glassgpt.lab.stopping import Wishes
from glassgpt.lab.sweep_plot import FEWEST_TO_WEIGH, draw_sweep
from glassgpt.lab.trials import TrialRecord, best, finished, write_table
from glassgpt.settings import to_yaml
from glassgpt.training import events as training
from glassgpt.training.chosen import prepare_data, settle

if TYPE_CHECKING:
    from glassgpt.lab.study import Board, Claim
    from glassgpt.lab.trial import Measure

POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Opened:
    """All is found good; the first trial comes next."""

    plan: Plan
    measured: str  # in which unit, and why
    records: list[TrialRecord]
    possible: float  # which share of the combinations fits together
    why_not: str  # the others
    notes: list[str]  # of the text


@dataclass(frozen=True, kw_only=True)
class Began:
    number: int
    params: Mapping[str, Value]
    again: bool  # a trial that had lost its process, or was stopped


@dataclass(frozen=True, kw_only=True)
class During:
    """Something that happened inside a trial."""

    number: int
    event: training.Event


@dataclass(frozen=True, kw_only=True)
class Ended:
    record: TrialRecord
    best: TrialRecord | None
    done: int


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Nothing is left to begin; other processes of this machine have these trials in hand."""

    numbers: list[int]


@dataclass(frozen=True, kw_only=True)
class Closed:
    """The end of this start. `left` says why it came before that of the sweep, if it did."""

    plan: Plan
    unit: str
    records: list[TrialRecord]
    files: Mapping[str, Path]
    left: str | None
    left_number: int | None


SweepEvent = Opened | Began | During | Ended | Waiting | Closed


def go(plan: Plan, *, report_only: bool = False, say: Watcher | None = None) -> Iterator[SweepEvent]:
    """Do what is left of the sweep, or (`report_only`) only write its tables and pictures again."""
    _check_surroundings()
    from glassgpt.lab.storage import is_there, open_storage
    from glassgpt.lab.study import Board
    from glassgpt.lab.trial import Measure

    if report_only and not is_there(plan.storage):
        raise RunError(f"there is no sweep in {plan.folder} yet ({plan.storage} is missing); leave --report out")
    until = None if plan.budget.minutes is None else time.monotonic() + 60 * plan.budget.minutes
    base, notes = settle(plan.base, say)  # the text that is to be had is chosen once, for all trials
    plan = replace(plan, base=base)
    measure = Measure.of(plan, prepare_data(base.config, say))
    with open_storage(plan.storage) as storage:
        work = _Work(plan, Board(plan, storage), measure, until)
        write_text(plan.folder / FILE, plan.to_yaml())
        if not report_only:
            possible, why_not = plan.space.possible_share(plan.base.config)
            yield Opened(plan=plan, measured=measure.reason, records=work.board.records(), possible=possible,
                         why_not=why_not, notes=notes)  # fmt: skip
            with Wishes() as wishes:
                yield from work.do_trials(wishes)
        yield work.close()


def _check_surroundings() -> None:
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtraError("optuna", "sweep") from None
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("a sweep needs no torchrun: start the same `glassgpt sweep` several times, and its processes "
                          "share the trials")  # fmt: skip


class _Work:
    """One process's part of a sweep."""

    def __init__(self, plan: Plan, board: Board, measure: Measure, until: float | None) -> None:
        self.plan, self.board, self.measure, self.until = plan, board, measure, until
        self.left: str | None = None  # why this process went before the end, and from which trial
        self.left_number: int | None = None

    def do_trials(self, wishes: Wishes) -> Iterator[SweepEvent]:
        waits = False
        while not self._must_go(wishes):
            claim = self.board.claim()
            if claim is not None:
                waits = False
                yield from self._do(claim, wishes)
                continue
            neighbours = self.board.neighbours()
            if not neighbours:
                return
            if not waits:  # should one of them be killed, its trial is not lost
                yield Waiting(numbers=neighbours)
            waits = True
            time.sleep(POLL_S)

    def _must_go(self, wishes: Wishes) -> bool:
        time_is_up = self.until is not None and time.monotonic() >= self.until
        self.left = self.left or wishes.caught or ("time is up" if time_is_up else None)
        return self.left is not None

    def _do(self, claim: Claim, wishes: Wishes) -> Iterator[SweepEvent]:
        from glassgpt.lab.trial import Attempt

        yield Began(number=claim.number, params=claim.params, again=claim.again)
        attempt = Attempt(claim=claim, plan=self.plan, measure=self.measure, until=self.until, wishes=wishes)
        for event in attempt.run():
            yield During(number=claim.number, event=event)
        if attempt.left is not None:
            self.left, self.left_number = attempt.left, claim.number
            return
        records = self.board.records()
        record = next(record for record in records if record.number == claim.number)
        done = sum(record.is_done for record in records)
        write_results(self.plan, records, self.measure)
        yield Ended(record=record, best=best(records), done=done)

    def close(self) -> Closed:
        records = self.board.records()
        files = write_results(self.plan, records, self.measure)
        importances = self.board.importances() if len(finished(records)) >= FEWEST_TO_WEIGH else {}
        files |= draw_sweep(self.plan, records, importances, unit=self.measure.unit)
        return Closed(plan=self.plan, unit=self.measure.unit, records=records, files=files, left=self.left,
                      left_number=self.left_number)  # fmt: skip


def write_results(plan: Plan, records: list[TrialRecord], measure: Measure) -> dict[str, Path]:
    """trials.csv, and best.yaml as soon as a trial is finished. (Two processes write the same, each whole.)"""
    from glassgpt.lab.trial import settings_for

    files = {"trials": plan.folder / "trials.csv"}
    write_table(files["trials"], records)
    if winner := best(records):
        files["best"] = plan.folder / "best.yaml"
        chosen = settings_for(plan, winner.params, measure, out=plan.folder.with_name(f"{plan.folder.name}-best"))
        write_text(files["best"], to_yaml(chosen.config, chosen.origins))
    return files


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a sweep found."""

    best_value: float | None  # in `unit`; None while no trial is finished
    unit: str
    settings: Mapping[str, Value]  # the best combination
    trials: list[TrialRecord]
    folder: Path
    files: Mapping[str, Path]


def sweep(
    config: str | os.PathLike[str] | None = None,
    *,
    trials: int | None = None,
    minutes: float | None = None,
    storage: str | None = None,
    out: str | os.PathLike[str] | None = None,
    on_event: Callable[[SweepEvent], object] | None = None,
    **base: Any,
) -> Result:
    """Search and wait for it. `base`: settings that all trials share, over those of the file, under anybody's names."""
    budget = {"trials": trials, "minutes": minutes, "storage": storage, "out": None if out is None else os.fspath(out)}
    plan = read_plan(Path(config) if config is not None else default_file(), budget=budget, flags=base)
    for event in go(plan):
        if on_event is not None:
            on_event(event)
    assert isinstance(event, Closed)
    winner = best(event.records)
    return Result(
        best_value=winner.value if winner else None, unit=event.unit, settings=winner.params if winner else {},
        trials=event.records, folder=plan.folder, files=event.files,
    )  # fmt: skip
