"""Everything that a run needs, put together before its first step: nothing here takes one.

A new run and a resumed one differ only in where their weights, memory and progress come from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glassgpt.checkpoint import Checkpoint, load_checkpoint, load_weights, weights_of
from glassgpt.config import RunConfig
from glassgpt.data.batches import piece_size
from glassgpt.data.prepare import Prepared
from glassgpt.data.prepare import Progress as Watcher
from glassgpt.device import Machine, choose_machine
from glassgpt.errors import RunError
from glassgpt.model.base import Predictor
from glassgpt.model.build import build
from glassgpt.model.count import flops_per_token
from glassgpt.runs import RunFolder
from glassgpt.settings import Settings, assemble, flat
from glassgpt.training.chosen import digest_of, held_out_of, prepare_data, resolve_measured
from glassgpt.training.compiling import compiled_if_it_pays
from glassgpt.training.deadline import Deadline
from glassgpt.training.evaluate import HeldOut, HeldOutTales
from glassgpt.training.events import Note
from glassgpt.training.metrics import Progress
from glassgpt.training.parallel import Team
from glassgpt.training.planning import planned
from glassgpt.training.schedule import window_length
from glassgpt.training.step import Trainer, trainer_of

# What may differ when a run is resumed: none of it changes what the model is or reads.
CHANGEABLE = frozenset({
    "max_steps", "eval_every", "eval_batches", "save_every", "log_every", "sample_every", "sample_prompt",
    "device", "threads", "compile", "publish", "grad_accum", "tensorboard", "wandb", "wandb_project",
})  # fmt: skip


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

    def move_to(self, folder: RunFolder) -> None:
        """The folder that the run was given in place of the one that it asked for."""
        if folder.path != self.folder.path:
            self.notes.append(f"{self.folder.path} is taken; this run goes to {folder.path}")
            self.folder = folder
            self.config = self.config.but(out=str(folder.path))

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
            | {"floor": self.held_out.floor, "data_digest": digest_of(self.prepared)},
            weights=weights_of(self.model),
            optimizer=self.trainer.memory() if with_optimizer else {},
        )


def new_run(settings: Settings, team: Team, say: Watcher | None, *, began: float | None = None) -> Run:
    deadline = Deadline(60 * (settings.config.training.minutes or 0.0), began=began)
    _refuse_uneven(settings.config, team)
    machine = _machine_of(settings.config, team)
    prepared = team.leader_first(lambda: prepare_data(settings.config, say))
    notes: list[str] = []
    if settings.config.training.minutes is not None:
        settings, notes = planned(settings, machine, prepared, team, deadline)
    machine = compiled_if_it_pays(settings.config, machine, prepared, team, say)
    config = _for_all(resolve_measured(settings, machine, prepared), team)
    asked = flat(settings.config)
    chosen = {name: "chosen here" for name, value in flat(config).items() if value != asked[name]}
    model = build(config.model, seed=config.training.seed).to(machine.device)
    run = _assemble(
        config, origins=dict(settings.origins) | chosen, machine=machine, prepared=prepared, model=model,
        progress=Progress(), team=team, deadline=deadline,
    )  # fmt: skip
    run.notes = notes
    return run


def resumed_run(folder: RunFolder, changes: Mapping[str, Any], team: Team, say: Watcher | None) -> Run:
    saved = load_checkpoint(folder.last)
    # A run is where it lies: a folder that was renamed or copied is resumed in its new place.
    notes: list[str] = []
    config = _for_all(_changed(saved, changes, notes).but(out=str(folder.path)), team)
    _refuse_uneven(config, team)
    prepared = team.leader_first(lambda: prepare_data(config, say))
    if digest_of(prepared) != saved.metrics["data_digest"]:
        raise RunError(
            f"the text is not the one that this run began with (digest {digest_of(prepared)[:12]} now, "
            f"{str(saved.metrics['data_digest'])[:12]} then); start a new run with --out"
        )
    machine = _machine_of(config, team)
    model = build(saved.model_config, seed=config.training.seed)
    load_weights(model, saved.weights)
    run = _assemble(
        config, origins=saved.origins, machine=machine, prepared=prepared, model=model.to(machine.device),
        progress=Progress.from_metrics(saved.metrics), team=team,
        deadline=Deadline(60 * (config.training.minutes or 0.0) - float(saved.metrics["seconds"])),
    )  # fmt: skip
    run.trainer.remember(saved.optimizer)
    run.notes += notes
    return run


def _refuse_uneven(config: RunConfig, team: Team) -> None:
    training = config.training
    piece_size(training.batch_size, team.world_size, training.grad_accum)


def _machine_of(config: RunConfig, team: Team) -> Machine:
    return choose_machine(config.training, config.device, local_rank=team.local_rank, local_size=team.local_size)


def _for_all(config: RunConfig, team: Team) -> RunConfig:
    """What is written down holds for every process: `cuda`, and not the one card on which this one computes."""
    return config if team.alone else config.but(device=config.device.partition(":")[0])


def _changed(saved: Checkpoint, changes: Mapping[str, Any], notes: list[str]) -> RunConfig:
    before = assemble(saved.settings)
    after = flat(assemble(dict(saved.settings) | dict(changes)))
    for name, value in flat(before).items():
        if after[name] == value:
            continue
        if name not in CHANGEABLE:
            raise RunError(f"this run has {name}={value}, and cannot go on with {name}={after[name]}; start a new run")
        notes.append(f"{name} was {value} and is now {after[name]}")
    return assemble(after)


def _assemble(
    config: RunConfig,
    *,
    origins: Mapping[str, str],
    machine: Machine,
    prepared: Prepared,
    model: Predictor,
    progress: Progress,
    team: Team,
    deadline: Deadline,
) -> Run:
    training = config.training
    assert config.out is not None
    trainer = trainer_of(model, prepared.train_ids, training, machine, team=team, compiled=machine.compiled)
    model.context = training.seq_len
    return Run(
        config=config, origins=origins, machine=machine, folder=RunFolder(Path(config.out)), prepared=prepared,
        trainer=trainer, held_out=held_out_of(config, machine, prepared, team), progress=progress, deadline=deadline,
    )  # fmt: skip
