"""One trial of a sweep: a run like any other, in a folder of its own, whose best held-out loss is the trial's value.

What makes values comparable is decided here: all trials are measured on the same amount of text, and where they do not
share their tokens, in bits per byte.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from glassgpt import settings
from glassgpt.checkpoint import load_checkpoint
from glassgpt.config import RunConfig
from glassgpt.data.prepare import Prepared
from glassgpt.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergenceError,
    RunError,
    TokenizerError,
    TooLargeError,
    is_out_of_memory,
)
from glassgpt.lab.plan import Plan
from glassgpt.lab.space import Value
from glassgpt.lab.stopping import Wishes
from glassgpt.lab.study import Claim
from glassgpt.lab.trials import folder_of_trial
from glassgpt.runs import RunFolder
from glassgpt.training.chosen import is_tales, prepare_data
from glassgpt.training.events import Evaluated, Event, Finished, Note, Started, Stepped, Stopped
from glassgpt.training.loop import resume, train

TOKENS_DIFFER = {"vocab_size", "tokenizer", "unknown"}  # trials that differ in these do not share their tokens
ITS_OWN_FAULT = (ConfigError, DataError, TokenizerError, DivergenceError, TooLargeError)
TIME_IS_UP = "time is up"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How trials are compared."""

    unit: str
    tokens_differ: bool = False
    tales: bool = False  # whose losses are per character whatever the tokens are

    @classmethod
    def of(cls, plan: Plan, prepared: Prepared) -> Measure:
        differ = bool(plan.space.fields & TOKENS_DIFFER)
        if is_tales(prepared):
            return cls(unit="nats per character", tales=True)
        return cls(unit="bits per byte" if differ else "nats per token", tokens_differ=differ)

    @property
    def reason(self) -> str:
        return f"measured in {self.unit}" + (", for they do not share their tokens" if self.tokens_differ else "")

    def batches(self, trial: RunConfig, base: RunConfig) -> int:
        """`eval_batches` that come to the base's amount of text, whatever the trial's batches hold."""
        if self.tokens_differ or not base.training.eval_batches:
            return 0
        sizes = [run.batch_size * (1 if self.tales else run.seq_len) for run in (base.training, trial.training)]
        return max(1, round(base.training.eval_batches * sizes[0] / sizes[1]))

    def scale(self, config: RunConfig) -> float:
        """What the loop's losses are multiplied with."""
        if not self.tokens_differ or self.tales:
            return 1.0
        held_out = prepare_data(config, None).meta.val
        return held_out.tokens / (held_out.bytes * math.log(2))


def settings_for(plan: Plan, params: Mapping[str, Value], measure: Measure, *, out: Path) -> settings.Settings:
    """One combination as the complete settings of a run; raises ConfigError where it is impossible."""
    config = plan.space.config(params, plan.base.config)
    training = config.training.but(eval_batches=measure.batches(config, plan.base.config))
    origins = {**plan.base.origins, **dict.fromkeys(sorted(plan.space.fields), "the sweep's search")}
    return settings.Settings(config.but(training=training, out=str(out)), origins)


@dataclass(kw_only=True)
class Attempt:
    """A claimed trial being done. What comes out is told to the claim; why it was left before its end, in `left`."""

    claim: Claim
    plan: Plan
    measure: Measure
    until: float | None  # time.monotonic() at which the budget of minutes ends
    wishes: Wishes  # to stop
    left: str | None = None
    _step: int = 0
    _seconds: float = 0.0
    _scale: float = 1.0
    _hopeless: bool = False
    _asked_to_stop: bool = False

    def run(self) -> Iterator[Event]:
        """The events of the run; afterwards the trial has ended, or was left to be gone on with."""
        try:
            yield from self._run()
        except BaseException as problem:
            if not isinstance(problem, ITS_OWN_FAULT) and not is_out_of_memory(problem):
                self.claim.leave(died=isinstance(problem, Exception))  # Ctrl-C at a bad moment, a full disk, a bug
                raise
            why = " ".join(str(problem).split()) or "out of memory"
            self.claim.fail(why, steps=self._step, seconds=self._seconds)
        if self.left is not None:
            self.claim.leave()

    def _run(self) -> Iterator[Event]:
        out = folder_of_trial(self.plan.folder, self.claim.number)
        chosen = settings_for(self.plan, self.claim.params, self.measure, out=out)
        chosen = settings.Settings(chosen.config.but(publish=()), chosen.origins)  # the best is published, not each
        for event in _events(chosen, RunFolder(out)):
            yield event
            self._hear(event)
            if isinstance(event, Finished):
                return self._finish(event.best_val_loss)
            if isinstance(event, Stopped):
                self.left = TIME_IS_UP if self._asked_to_stop else event.signal
                return None
            if self._hopeless and isinstance(event, Stepped):  # its line is in the log
                return self.claim.prune(steps=self._step, seconds=self._seconds)
            self.left = self._reason_to_leave(event)
            if self.left is not None:
                return None
        saved = load_checkpoint(
            RunFolder(out).last
        )  # it was done before, and its process killed before it could say so
        self._step, self._seconds, self._scale = saved.step, saved.metrics["seconds"], self.measure.scale(chosen.config)
        return self._finish(saved.metrics["best_val_loss"])

    def _hear(self, event: Event) -> None:
        self.claim.beat()
        if not self._asked_to_stop:
            self.wishes.look(run_is_over=isinstance(event, Finished | Stopped))
        if isinstance(event, Started):
            self._scale = self.measure.scale(event.config)
        elif isinstance(event, Stepped | Finished):
            self._seconds = event.seconds
        if isinstance(event, Stepped):
            self._step = event.step
        elif isinstance(event, Evaluated):
            self._step = event.step
            self._hopeless = self.claim.report(event.step, event.val_loss * self._scale)

    def _finish(self, best_val_loss: float) -> None:
        value = best_val_loss * self._scale
        if not math.isfinite(value):
            raise DivergenceError(f"its held-out loss is {value}")
        self.claim.finish(value, steps=self._step, seconds=self._seconds)

    def _reason_to_leave(self, event: Event) -> str | None:
        """Why the run is cut off here. One that takes steps is asked to stop, as by Ctrl-C: then it saves."""
        if self.until is None or time.monotonic() < self.until or self._asked_to_stop:
            return None
        if isinstance(event, Note | Started) or threading.current_thread() is not threading.main_thread():
            return TIME_IS_UP
        if isinstance(event, Stepped):  # in the middle of the loop, which hears the signal
            self._asked_to_stop = True
            signal.raise_signal(signal.SIGINT)
        return None


def _events(chosen: settings.Settings, folder: RunFolder) -> Iterator[Event]:
    """Going on from the last checkpoint, where there is one of this very trial; from the beginning otherwise."""
    if folder.last.is_file():
        try:
            if _is_of(chosen, folder):
                yield from resume(folder.path, {})
                return
        except (CheckpointError, RunError, ConfigError):  # damaged, or made on a machine that has what this one lacks
            pass
    yield from train(chosen, overwrite=True)


def _is_of(chosen: settings.Settings, folder: RunFolder) -> bool:
    saved, wanted = load_checkpoint(folder.last).settings, settings.flat(chosen.config)
    return all(saved.get(name) == wanted[name] for name, origin in chosen.origins.items() if "search" in origin)
