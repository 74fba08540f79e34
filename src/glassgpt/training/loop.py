"""The story of a run, from the first step to the last, told as a stream of events.

    for event in train(settings): ...     # the terminal draws them; `glassgpt.train` only waits for the last

What a step does is in `step.py`; what must stand ready before the first one, in `run.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from glassgpt.checkpoint import save_checkpoint
from glassgpt.data.prepare import Progress as Watcher
from glassgpt.device import switched_on
from glassgpt.errors import RunError
from glassgpt.files import write_text
from glassgpt.runs import RunFolder, claim, empty, find_run
from glassgpt.settings import Settings, to_yaml
from glassgpt.training.chosen import folder_of
from glassgpt.training.clock import Clock
from glassgpt.training.events import Evaluated, Event, Finished, Note, Sampled, Saved, Started, Stepped, Stopped
from glassgpt.training.metrics import Log, Row
from glassgpt.training.publish import publish
from glassgpt.training.run import Run, new_run, resumed_run
from glassgpt.training.samples import FINAL_SAMPLES, SampleFile, write_sample
from glassgpt.training.signals import Interrupts
from glassgpt.training.step import StepResult


def train(settings: Settings, *, overwrite: bool = False, say: Watcher | None = None) -> Iterator[Event]:
    """A new run. Nothing is written before the configuration and the text were found good.

    `say` hears of the progress of a long preparation (what is done, and which share of it), before any event.
    """
    folder = claim(folder_of(settings.config), overwrite=overwrite)
    run = new_run(settings, say)
    with folder.lock():
        empty(folder)
        write_text(folder.config, to_yaml(run.config, run.origins))
        yield from _go(run)


def resume(path: str | Path, changes: Mapping[str, Any], *, say: Watcher | None = None) -> Iterator[Event]:
    """Go on where a run stopped: with the bits it would have had, had it not stopped."""
    folder = RunFolder(find_run(path))
    if not folder.path.is_dir() or not folder.last.is_file():
        raise RunError(f"{path} cannot be resumed: it is no run folder with a {folder.last.name}")
    with folder.lock():
        run = resumed_run(folder, changes, say)
        if run.progress.step >= run.config.training.max_steps:
            yield Note(
                text=f"{folder.path} is finished: {run.progress.step} steps; --max-steps with a larger number goes on"
            )
            return
        write_text(folder.config, to_yaml(run.config, run.origins))
        yield from _go(run)


def _go(run: Run) -> Iterator[Event]:
    for line in [run.machine.why, *run.notes]:
        yield Note(text=line)
    yield _started(run)
    desk = _Desk(run)
    with switched_on(run.machine), Interrupts() as interrupts:
        while run.progress.step < run.config.training.max_steps and not interrupts.caught:
            yield from desk.take_step()
    if run.progress.step < run.config.training.max_steps:
        assert interrupts.caught is not None
        yield desk.save_last()
        yield Stopped(step=run.progress.step, folder=run.folder.path, signal=interrupts.caught)
    else:
        yield from _finish(desk)


def _started(run: Run) -> Started:
    training, tokens = run.config.training, len(run.prepared.train_ids)
    return Started(
        config=run.config,
        folder=run.folder.path,
        step=run.progress.step,
        parameters=sum(parameter.numel() for parameter in run.model.parameters()),
        train_tokens=tokens,
        val_tokens=len(run.prepared.val_ids),
        epochs=training.max_steps * training.batch_size * training.seq_len / tokens,
        floor=run.held_out.floor,
    )


class _Desk:
    """What lies on the table while a run is going: its log, its samples, its clock."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.log = Log(run.folder.log, up_to_step=run.progress.step)
        self.samples = SampleFile(run.folder.samples, up_to_step=run.progress.step)
        self.clock = Clock(before=run.progress.seconds)
        self.warned_of_step = 0

    def take_step(self) -> Iterator[Event]:
        run, progress = self.run, self.run.progress
        with self.clock.stepping():
            result = run.trainer.take_step(progress.step)
            loss = float(result.loss)
        if run.trainer.why_not_compiled and run.config.training.compile == "on":
            yield run.without_compiling()
            write_text(run.folder.config, to_yaml(run.config, run.origins))
        progress.step += 1
        progress.add_batch_loss(loss)
        if progress.step == 1:
            yield from _check_first_loss(loss, run)
        evaluated = None
        if self._due(run.config.training.eval_every):
            evaluated = self._evaluate()
            yield evaluated
            yield from self._warn_of_overfitting()
        if evaluated or self._due(run.config.training.log_every):
            yield self._record(result, loss, evaluated)
        if self._due(run.config.training.sample_every):
            yield self._sample()
        progress.seconds = self.clock.seconds()
        if evaluated and evaluated.is_best:
            yield self._save_best()
        if self._due(run.config.training.save_every):
            yield self.save_last()

    def _due(self, every: int) -> bool:
        step = self.run.progress.step
        return step == self.run.config.training.max_steps or (every > 0 and step % every == 0)

    def _evaluate(self) -> Evaluated:
        val_loss = self.run.held_out.evaluate(self.run.model).loss
        train_loss, is_best = self.run.progress.add_evaluation(val_loss)
        return Evaluated(step=self.run.progress.step, train_loss=train_loss, val_loss=val_loss,
                         floor=self.run.held_out.floor, is_best=is_best)  # fmt: skip

    def _warn_of_overfitting(self) -> Iterator[Note]:
        since = self.run.progress.overfitting_since()
        if since is not None and since != self.warned_of_step:
            self.warned_of_step = since
            yield Note(text=f"overfitting since step {since}: the validation loss rises while the training loss falls; "
                            f"the best checkpoint is that of step {since}")  # fmt: skip

    def _record(self, result: StepResult, loss: float, evaluated: Evaluated | None) -> Stepped:
        run, step = self.run, self.run.progress.step
        tokens_per_step = run.config.training.batch_size * run.config.training.seq_len
        pace = self.clock.take_pace() * tokens_per_step
        peak = run.machine.peak_flops
        mfu = pace * run.flops_per_token / peak if peak else None
        norm = float(result.gradient_norm)
        self.log.write(Row(
            step=step, tokens=step * tokens_per_step, seconds=self.clock.seconds(), train_loss=loss,
            val_loss=evaluated.val_loss if evaluated else None, learning_rate=result.learning_rate,
            gradient_norm=norm, tokens_per_s=pace, mfu=mfu, floor=run.held_out.floor,
        ))  # fmt: skip
        return Stepped(step=step, tokens=step * tokens_per_step, seconds=self.clock.seconds(), loss=loss,
                       learning_rate=result.learning_rate, gradient_norm=norm, tokens_per_s=pace, mfu=mfu)  # fmt: skip

    def _sample(self) -> Sampled:
        is_last = self.run.progress.step == self.run.config.training.max_steps
        text = write_sample(self.run, count=FINAL_SAMPLES if is_last else 1)
        self.samples.write(self.run.progress.step, text)
        return Sampled(step=self.run.progress.step, text=text)

    def _save_best(self) -> Saved:
        save_checkpoint(self.run.folder.best, self.run.checkpoint(with_optimizer=False))
        return Saved(step=self.run.progress.step, path=self.run.folder.best)

    def save_last(self) -> Saved:
        self.run.progress.seconds = self.clock.seconds()
        save_checkpoint(self.run.folder.last, self.run.checkpoint(with_optimizer=True))
        return Saved(step=self.run.progress.step, path=self.run.folder.last)


def _check_first_loss(loss: float, run: Run) -> Iterator[Note]:
    """An untrained model should find all tokens about equally likely."""
    vocab_size = run.model.config.vocab_size or 1
    expected = math.log(vocab_size)
    if abs(loss - expected) > 0.15 * expected:
        yield Note(text=f"the loss at step 0 is {loss:.3f}, far from ln({vocab_size}) = {expected:.3f}, that of "
                        f"a model which knows nothing: its first weights are not what they should be")  # fmt: skip


def _finish(desk: _Desk) -> Iterator[Event]:
    run, folder = desk.run, desk.run.folder
    published = publish(run.config.publish, folder)
    for place in published:
        yield Note(text=f"published {place}")
    assert run.progress.best_val_loss is not None  # the last step is always evaluated
    files = {"best": folder.best, "last": folder.last, "log": folder.log, "samples": folder.samples,
             **{str(place): place for place in published}}  # fmt: skip
    yield Finished(
        folder=folder.path, steps=run.progress.step, seconds=run.progress.seconds,
        best_val_loss=run.progress.best_val_loss, best_step=run.progress.best_step,
        floor=run.held_out.floor, files=files,
    )  # fmt: skip
