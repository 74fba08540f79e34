"""Everything that a run needs, put together before its first step: nothing here takes one.

A new run and a resumed one differ only in where their weights, memory and progress come from. What they become is in
`run.py`; what a new one chose by looking at its text and its machine, in `chosen.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glassgpt.checkpoint import Checkpoint, load_weights
from glassgpt.config import RunConfig
from glassgpt.data.batches import piece_size
from glassgpt.data.prepare import NO_FILES, Prepared
from glassgpt.data.prepare import Progress as Watcher
from glassgpt.device import Machine, choose_machine
from glassgpt.errors import RunError
from glassgpt.model.base import Predictor
from glassgpt.model.build import build
from glassgpt.recovery import Found
from glassgpt.runs import RunFolder
from glassgpt.settings import Settings, assemble, flat
from glassgpt.text.store import save_tokenizer
from glassgpt.training.chosen import digest_of, held_out_of, prepare_data, resolve_measured
from glassgpt.training.compiling import compiled_if_it_pays
from glassgpt.training.deadline import Deadline
from glassgpt.training.metrics import Progress
from glassgpt.training.parallel import Team
from glassgpt.training.planning import planned
from glassgpt.training.run import CIRCUMSTANCES, Run, circumstances
from glassgpt.training.step import trainer_of

# What may differ when a run is resumed: none of it changes what the model is or reads.
CHANGEABLE = frozenset({
    "max_steps", "eval_every", "eval_batches", "save_every", "keep_every", "log_every", "sample_every",
    "sample_prompt", "device", "threads", "compile", "publish", "grad_accum", "tensorboard", "wandb", "wandb_project",
    "on_divergence",
})  # fmt: skip


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


def resumed_run(folder: RunFolder, found: Found, changes: Mapping[str, Any], team: Team, say: Watcher | None) -> Run:
    """The run that was saved there; with `changes`, none of which makes another run of it."""
    saved, notes = found.checkpoint, list(found.notes)
    # A run is where it lies: a folder that was renamed or copied is resumed in its new place.
    config = _for_all(_changed(saved, changes, notes).but(out=str(folder.path)), team)
    _refuse_uneven(config, team)
    if team.leads:
        notes += _restored_tokenizer(saved, config)
    prepared = team.leader_first(lambda: prepare_data(config, say))
    _refuse_other_text(saved, prepared)
    notes += _other_circumstances(saved, team)
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
    run.last_is_whole = found.path == folder.last
    return run


def _restored_tokenizer(saved: Checkpoint, config: RunConfig) -> list[str]:
    """A tokenizer.json that is gone would be learned anew, and perhaps be another: the checkpoint has it."""
    path = Path(config.data.tokenizer).expanduser()
    if config.data.tokenizer in NO_FILES or path.exists():
        return []
    save_tokenizer(saved.tokenizer(), path)
    return [f"{path} was missing, and is written again, as the checkpoint has it"]


def _refuse_other_text(saved: Checkpoint, prepared: Prepared) -> None:
    """What a run reads is what it began with: the same names may have another content by now."""
    if digest_of(prepared) == saved.metrics["data_digest"]:
        return
    now, then = prepared.tokenizer.digest, saved.tokenizer().digest
    if now != then:
        what = f"its tokenizer is not the one that this run began with (digest {now[:12]} now, {then[:12]} then)"
    else:
        now, then = digest_of(prepared)[:12], str(saved.metrics["data_digest"])[:12]
        what = f"it is not the text that this run began with (digest {now} now, {then} then)"
    raise RunError(f"{' '.join(prepared.source.specs)}: {what}; bring the old one back, or start a new run with --out")


def _other_circumstances(saved: Checkpoint, team: Team) -> list[str]:
    """What is no setting, and changes the last digits of sums: with it, no other run goes on, but no equal one."""
    then, now = saved.metrics.get(CIRCUMSTANCES, {}), circumstances(team)
    return [
        f"{name} was {then[name]} and is now {now[name]}: results may differ in their last digits from here on"
        for name in now
        if name in then and then[name] != now[name]
    ]


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
