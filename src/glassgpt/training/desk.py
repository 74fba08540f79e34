"""What lies on the table while a run is going: its log, its samples, its checkpoints, its clock.

A step and all that is due after it. Of several processes each takes the step and its share of an evaluation; the
first alone writes, and the others only remember the same numbers, on which the same decisions will rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from glassgpt.checkpoint import Checkpoint, save_checkpoint
from glassgpt.errors import DivergenceError
from glassgpt.files import remove, write_text
from glassgpt.settings import to_yaml
from glassgpt.training.clock import Clock
from glassgpt.training.events import Evaluated, Event, Note, Sampled, Saved, Stepped
from glassgpt.training.hindsight import diverged
from glassgpt.training.metrics import Log, Row
from glassgpt.training.noticing import Notices
from glassgpt.training.publish import FAILED, publish
from glassgpt.training.run import Run
from glassgpt.training.samplefile import SampleFile
from glassgpt.training.samples import EARLY_TOKENS, FINAL_SAMPLES, is_early, sample_if_room
from glassgpt.training.step import StepResult


class Desk:
    def __init__(self, run: Run) -> None:
        self.run = run
        self.writes = run.team.leads
        self._open()
        self.returns = 0  # to an earlier step, from a loss that was no number
        self.loss = 0.0  # of the last step that was heard of
        self.notices = Notices(run)
        self.published: dict[str, Path] = {}  # copies in other places, by the name that they were asked for

    def _open(self) -> None:
        run = self.run
        if self.writes:
            self.log = Log(run.folder.log, up_to_step=run.progress.step)
            self.samples = SampleFile(run.folder.samples, up_to_step=run.progress.step)
            remove(*(path for step, path in run.folder.kept().items() if step > run.progress.step))
        self.clock = Clock(before=run.progress.seconds)

    def look_at_log(self) -> Iterator[Note]:
        """Whether it is the one that the run had when it was saved; what it says then is shown, and nobody's word."""
        saved = self.run.progress.log_digest
        if self.writes and saved and saved != self.log.digest:
            path, step = self.run.folder.log, self.run.progress.step
            yield Note(text=f"{path} is not what this run wrote up to step {step}: edited, or damaged; kept as it is")

    def go_back(self) -> Iterator[Event]:
        """To what was saved last; the log, the samples and the weights that are kept forget what came after."""
        yield from self.run.go_back()
        self._open()
        self.returns += 1
        if self.writes:
            write_text(self.run.folder.config, to_yaml(self.run.config, self.run.origins))

    def take_step(self) -> Iterator[Event]:
        run, progress = self.run, self.run.progress
        if run.keep_time() and self.writes:
            write_text(run.folder.config, to_yaml(run.config, run.origins))
        with self.clock.stepping():
            result = run.trainer.take_step(progress.step)
            if self._is_told(progress.step + 1):
                self._hear_losses()
        yield from self._tell_what_gave_way()
        progress.step += 1
        if progress.step == 1:
            yield from self.notices.of_first_loss(self.loss)
        evaluated = None
        if self._due(run.config.training.eval_every):
            evaluated = self._evaluate()
            yield evaluated
            yield from self.notices.of_evaluation(evaluated.val_loss)
        if evaluated or self._due(run.config.training.log_every):
            yield self._record(result, self.loss * run.loss_unit, evaluated)
        if self._due(run.config.training.sample_every):
            yield from self._sample()
        elif is_early(progress.step, run.config.training):
            self._sample_early()
        progress.seconds = self.clock.seconds()
        if evaluated and evaluated.is_best:
            yield from self._save_best()
        if self._is_kept():
            yield from self._save_weights(run.folder.kept_at(progress.step))
        if self._due(run.config.training.save_every):
            yield from self.save_last()

    def _tell_what_gave_way(self) -> Iterator[Note]:
        """Of the configuration, in this step: what a resumed run should not try again."""
        run, before = self.run, self.run.config
        if run.trainer.why_not_compiled and run.config.training.compile == "on":
            yield run.without_compiling()
        if run.trainer.config.grad_accum != run.config.training.grad_accum:
            yield run.in_smaller_parts()
        if run.config is not before and self.writes:
            write_text(run.folder.config, to_yaml(run.config, run.origins))

    def _hear_losses(self) -> None:
        """Of the steps since the last time; seldom, for an accelerator is waited for."""
        for loss in self.run.trainer.losses():
            self.run.progress.add_batch_loss(loss * self.run.loss_unit)
            self.loss = loss

    def _is_told(self, step: int) -> bool:
        """Whether anything at all is due after it, or it is the first."""
        training = self.run.config.training
        saving = (training.save_every, training.keep_every)
        every = (training.eval_every, training.log_every, training.sample_every, *saving)
        return step == 1 or is_early(step, training) or any(self._due(steps, step) for steps in every)

    def _due(self, every: int, step: int | None = None) -> bool:
        step = self.run.progress.step if step is None else step
        return step == self.run.config.training.max_steps or (every > 0 and step % every == 0)

    def _evaluate(self) -> Evaluated:
        val_loss = self.run.held_out.evaluate(self.run.model).loss
        if not math.isfinite(val_loss):
            raise self._diverged(f"the held-out loss is {val_loss}")
        train_loss, is_best = self.run.progress.add_evaluation(val_loss)
        return Evaluated(step=self.run.progress.step, train_loss=train_loss, val_loss=val_loss,
                         floor=self.run.held_out.floor, is_best=is_best)  # fmt: skip

    def _record(self, result: StepResult, loss: float, evaluated: Evaluated | None) -> Stepped:
        run, step = self.run, self.run.progress.step
        tokens_per_step = run.config.training.batch_size * run.config.training.seq_len
        pace = self.clock.take_pace() * tokens_per_step
        peak = run.machine.peak_flops
        mfu = pace * run.flops_per_token / (peak * run.team.world_size) if peak else None
        norm = float(result.gradient_norm)
        row = Row(
            step=step, tokens=step * tokens_per_step, seconds=self.clock.seconds(), train_loss=loss,
            val_loss=evaluated.val_loss if evaluated else None, learning_rate=result.learning_rate,
            gradient_norm=norm, tokens_per_s=pace, mfu=mfu, floor=run.held_out.floor,
        )  # fmt: skip
        if self.writes:
            self.log.write(row)
        return Stepped(step=step, tokens=step * tokens_per_step, seconds=self.clock.seconds(), loss=loss,
                       learning_rate=result.learning_rate, gradient_norm=norm, tokens_per_s=pace, mfu=mfu)  # fmt: skip

    def _sample(self) -> Iterator[Sampled | Note]:
        if not self.writes:
            return
        step = self.run.progress.step
        is_last = step == self.run.config.training.max_steps
        text = sample_if_room(self.run, count=FINAL_SAMPLES if is_last else 1)
        if text is None:
            yield Note(text=f"no sample at step {step}: there is not enough memory for it beside the training")
            return
        self.samples.write(step, text)
        yield Sampled(step=step, text=text)

    def _sample_early(self) -> None:
        if self.writes and (text := sample_if_room(self.run, most_tokens=EARLY_TOKENS)) is not None:
            self.samples.write(self.run.progress.step, text)

    def _diverged(self, what: str) -> DivergenceError:
        step = self.run.progress.step
        return diverged(f"after step {step}: {what}", self.run.trainer.circumstances)

    def _refuse_no_numbers(self) -> None:
        """What is on the disk is finite; all processes hold the same weights, and so decide alike."""
        if not self.run.trainer.holds_numbers():
            raise self._diverged("weights that are no numbers, which are not saved")

    def _checkpoint(self, *, with_optimizer: bool) -> Checkpoint:
        self.run.progress.log_digest = self.log.digest
        return self.run.checkpoint(with_optimizer=with_optimizer)

    def _is_kept(self) -> bool:
        every = self.run.config.training.keep_every
        return every > 0 and self._due(every)

    def _save_best(self) -> Iterator[Saved | Note]:
        yield from self._save_weights(self.run.folder.best)
        if self.writes:
            yield from self._publish(logs=False)

    def _save_weights(self, path: Path) -> Iterator[Saved]:
        """Enough to write with, and not to go on from."""
        self._refuse_no_numbers()
        if self.writes:
            save_checkpoint(path, self._checkpoint(with_optimizer=False))
            yield Saved(step=self.run.progress.step, path=path)

    def save_last(self) -> Iterator[Saved]:
        self.save_state()
        if self.writes:
            yield Saved(step=self.run.progress.step, path=self.run.folder.last)

    def save_state(self) -> None:
        self._hear_losses()  # before weights are trusted that may have gone nowhere
        self._refuse_no_numbers()
        self.run.progress.seconds = self.clock.seconds()
        if self.writes:
            self.log.sync()
            self.samples.sync()
            keep = self.run.folder.previous if self.run.last_is_whole else None
            save_checkpoint(self.run.folder.last, self._checkpoint(with_optimizer=True), keep=keep)
            self.run.last_is_whole = True

    def publish_log(self) -> Iterator[Note]:
        """Once, when the run ends or stops; the best checkpoint is published whenever there is a better one."""
        if self.writes:
            yield from self._publish(logs=True)

    def _publish(self, *, logs: bool) -> Iterator[Note]:
        places = [place for place in self.run.config.publish if place.endswith(".csv") == logs]
        copies, lines = publish(places, self.run.folder)
        news = not self.published.keys() >= set(places)  # said once, not at every evaluation
        self.published |= {str(copy): copy for copy in copies}
        yield from (Note(text=line) for line in lines if news or FAILED in line)
