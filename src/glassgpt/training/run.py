"""A run while it is going: what it consists of, and what of it may give way before it ends.

How it is put together is told in `setup.py`; what a step does, in `step.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from glassgpt.checkpoint import Checkpoint, load_weights, weights_of
from glassgpt.config import RunConfig
from glassgpt.data.prepare import Prepared
from glassgpt.device import Machine
from glassgpt.errors import RunError
from glassgpt.model.base import Predictor
from glassgpt.model.count import flops_per_token
from glassgpt.recovery import find_state
from glassgpt.runs import RunFolder
from glassgpt.settings import assemble, flat
from glassgpt.training.chosen import digest_of
from glassgpt.training.deadline import Deadline
from glassgpt.training.evaluate import HeldOut, HeldOutTales
from glassgpt.training.events import Note
from glassgpt.training.metrics import Progress
from glassgpt.training.parallel import Team
from glassgpt.training.schedule import window_length
from glassgpt.training.step import Trainer

CIRCUMSTANCES = "circumstances"


def circumstances(team: Team) -> dict[str, str]:
    """What is no setting and yet decides the last bits of a result."""
    return {"torch": torch.__version__, "the number of processes": str(team.world_size)}


@dataclass(kw_only=True)
class Run:
    config: RunConfig  # resolved: nothing in it is `auto` any more
    origins: Mapping[str, str]
    machine: Machine
    folder: RunFolder
    prepared: Prepared
    trainer: Trainer
    held_out: HeldOut
    progress: Progress
    deadline: Deadline
    notes: list[str] = field(default_factory=list)  # what a person should hear before the first step
    last_is_whole: bool = True  # what bears the name now, if anything, is worth keeping when a newer one takes it

    def without_compiling(self) -> Note:
        """Compiling failed: the run goes on in eager mode, and will be resumed so."""
        self.config = assemble(flat(self.config) | {"compile": "off"})
        return Note(text=f"compiling failed, so it goes on without (slower): {self.trainer.why_not_compiled}")

    def keep_time(self) -> bool:
        """Of a run with a time to keep, settle before a step what depends on it; whether anything changed."""
        if self.config.training.minutes is None:
            return False
        said = json.dumps(self.deadline.changes(self.progress.step, self.config))
        changes = json.loads(self.team.as_leader_says(said))
        if changes:  # few steps have any
            self.config = assemble(flat(self.config) | changes)
            self.trainer.config = self.trainer.config.but(**changes)
        return bool(changes)

    def in_smaller_parts(self) -> Note:
        """Memory ran out and the batch was cut smaller: the run goes on so, and will be resumed so."""
        parts = self.trainer.config.grad_accum
        self.config = assemble(flat(self.config) | {"grad_accum": parts})
        self.origins = {**self.origins, "grad_accum": f"out of memory at step {self.progress.step + 1}"}
        windows = self.config.training.batch_size // self.trainer.pieces
        return Note(
            text=f"out of memory: from here on {windows} windows at a time (grad_accum={parts}, slower); the batch "
            f"and the mathematics stay the same"
        )

    def go_back(self) -> Iterator[Note]:
        """To what was saved last, and on from there at half the learning rates: the loss was no number at these."""
        found = find_state(self.folder.path)
        yield from (Note(text=line) for line in found.notes)
        names = ["learning_rate", *(["muon_learning_rate"] if self.config.training.optimizer == "muon" else [])]
        halves = {name: getattr(self.config.training, name) / 2 for name in names}
        self.config = assemble(flat(self.config) | halves)
        self.origins = {**self.origins, **dict.fromkeys(names, "halved where the training diverged")}
        self.last_is_whole = found.path == self.folder.last
        self.progress = Progress.from_metrics(found.checkpoint.metrics)
        load_weights(self.model, found.checkpoint.weights)
        self.trainer = self.trainer.anew(self.config.training, found.checkpoint.optimizer)
        said = ", ".join(f"{name}={value:.4g}" for name, value in halves.items())
        yield Note(text=f"back to step {self.progress.step}, and on from there with {said}")

    def move_to(self, folder: RunFolder) -> None:
        """The folder that the run was given in place of the one that it asked for."""
        if folder.path != self.folder.path:
            self.notes.append(f"{self.folder.path} is taken; this run goes to {folder.path}")
            self.folder = folder
            self.config = self.config.but(out=str(folder.path))

    @property
    def is_over(self) -> bool:
        return self.progress.step >= self.config.training.max_steps

    def refuse_changes(self, saved: Mapping[str, Any]) -> None:
        """Of a run that is over: whoever asked for something should not believe that it was done."""
        asked = {name: value for name, value in flat(self.config).items() if name != "out" and saved[name] != value}
        if asked:
            said = ", ".join(f"{name}={value}" for name, value in asked.items())
            raise RunError(
                f"{self.folder.path} is finished, with {self.progress.step} steps; {said} would change nothing. "
                f"A larger --max-steps goes on"
            )

    @property
    def team(self) -> Team:
        return self.trainer.team

    @property
    def model(self) -> Predictor:
        return self.trainer.model

    @property
    def flops_per_token(self) -> float:
        return flops_per_token(self.model.config, window_length(self.progress.step, self.config.training))

    @property
    def loss_unit(self) -> float:
        """Tales are scored per character, and so is shown what was trained on: tokens for each character."""
        train = self.prepared.meta.train
        return train.tokens / train.characters if self.tells_tales else 1.0

    @property
    def tells_tales(self) -> bool:
        return isinstance(self.held_out, HeldOutTales)

    def checkpoint(self, *, with_optimizer: bool) -> Checkpoint:
        return Checkpoint(
            model_config=self.model.config,
            tokenizer_json=self.prepared.tokenizer.to_json(),
            step=self.progress.step,
            settings=flat(self.config),
            origins=self.origins,
            metrics=self.progress.to_metrics()
            | {"floor": self.held_out.floor, "data_digest": digest_of(self.prepared)}
            | {CIRCUMSTANCES: circumstances(self.team)},
            weights=weights_of(self.model),
            optimizer=self.trainer.memory() if with_optimizer else {},
        )
