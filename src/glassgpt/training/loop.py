"""The story of a run, from the first step to the last, told as a stream of events.

    for event in train(settings): ...     # the terminal draws them; `glassgpt.train` only waits for the last

What a step does is in `step.py`, what is due after it in `desk.py`, what stands ready before the first in `setup.py`.
Of several processes (`parallel.py`) the first tells the story; the others yield its last event only.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from glassgpt.data.prepare import Progress as Watcher
from glassgpt.device import switched_on
from glassgpt.errors import DivergenceError, RunError
from glassgpt.files import write_text
from glassgpt.recovery import find_state, resumable
from glassgpt.runs import RunFolder, claim, reserved
from glassgpt.settings import Settings, to_yaml
from glassgpt.training.chosen import digest_of, folder_of, settle
from glassgpt.training.desk import Desk
from glassgpt.training.events import Event, Finished, Note, Over, Started, Stopped
from glassgpt.training.parallel import Team, assembled, my_team
from glassgpt.training.relaunch import remember_launch
from glassgpt.training.run import Run
from glassgpt.training.setup import new_run, resumed_run
from glassgpt.training.signals import Interrupts

MOST_RETURNS = 10  # then the learning rate was halved to a thousandth, and it is not the rate


def train(
    settings: Settings,
    *,
    overwrite: bool = False,
    numbered: bool = False,
    say: Watcher | None = None,
    began: float | None = None,
) -> Iterator[Event]:
    """A new run. Nothing is written before the configuration and the text were found good.

    `numbered`: where the folder is taken, the run goes to NAME-2, NAME-3 and so on, instead of being refused. `say`
    hears of the progress of a long preparation (what is done, and which share of it), before any event. The time of a
    run of `minutes` counts from `began`, on the monotonic clock; left out, from now.
    """
    team, began = my_team(), time.monotonic() if began is None else began
    with assembled(team), ExitStack() as held:
        with team.same_fate():
            settings, notes = team.leader_first(lambda: settle(settings, say))
            path = folder_of(settings.config)
            if team.leads and not numbered:
                claim(path, overwrite=overwrite)  # a long preparation should not end in a refusal
            run = new_run(settings, team, say, began=began)
        run.notes = [*notes, *run.notes]
        first_digest = team.as_leader_says(digest_of(run.prepared))
        with team.same_fate():
            if digest_of(run.prepared) != first_digest:
                raise RunError(f"{' '.join(run.config.data.data)} is another text here than for the first process")
            if team.leads:
                path = held.enter_context(reserved(path, overwrite=overwrite, numbered=numbered)).path
        run.move_to(RunFolder(Path(team.as_leader_says(str(path)))))
        if team.leads:
            remember_launch(run.folder)
        yield from _go(run)


def resume(path: str | Path, changes: Mapping[str, Any], *, say: Watcher | None = None) -> Iterator[Event]:
    """Go on where a run stopped: with the bits it would have had, had it not stopped."""
    folder, team = resumable(path), my_team()
    with assembled(team), ExitStack() as held:
        with team.same_fate():
            if team.leads:
                held.enter_context(folder.lock())
        with team.same_fate():
            found = find_state(path)
            run = resumed_run(folder, found, changes, team, say)
            if run.is_over:
                run.refuse_changes(found.checkpoint.settings)
        yield from _go(run) if not run.is_over else _already_over(run)


def _go(run: Run) -> Iterator[Event]:
    if run.team.leads:
        write_text(run.folder.config, to_yaml(run.config, run.origins))
    for event in _story(run):
        if run.team.leads or isinstance(event, Finished | Stopped):
            yield event
    run.team.largest(0)  # torchrun ends them all when one has gone; the first may still have something to write


def _story(run: Run) -> Iterator[Event]:
    """All of it between the signal handlers: a stop that is wished for before the first step is granted too."""
    with switched_on(run.machine), Interrupts(patient=not run.team.alone) as interrupts:
        for line in [run.machine.why, *_many(run.team), *run.notes]:
            yield Note(text=line)
        yield _started(run)
        desk, stop = Desk(run), 0
        yield from desk.look_at_log()
        if run.progress.step == 0:  # from its first moment on, whatever happens, there is a state to go on from
            desk.save_state()
        while not run.is_over and not (stop := run.team.largest(interrupts.number)):
            try:
                yield from desk.take_step()
            except DivergenceError as problem:
                if run.config.training.on_divergence == "stop" or desk.returns == MOST_RETURNS:
                    raise
                yield Note(text=str(problem))
                yield from desk.go_back()
        if not run.is_over:
            interrupts.number = stop  # of whichever process: torchrun will soon send one to the others too
            yield from desk.save_last()
            yield from desk.publish_log()
            yield Stopped(step=run.progress.step, folder=run.folder.path, signal=signal.Signals(stop).name)
        else:
            yield from _finish(desk)


def _already_over(run: Run) -> Iterator[Event]:
    """Nothing is to be done, but for what a process did not live to do after the last step."""
    logs = [Path(place) for place in run.config.publish if place.endswith(".csv")]
    if any(not log.is_file() or log.read_bytes() != run.folder.log.read_bytes() for log in logs):
        yield from Desk(run).publish_log()
    if run.team.leads:
        yield Over(folder=run.folder.path, steps=run.progress.step)


def _many(team: Team) -> Iterator[str]:
    if not team.alone:
        yield f"{team.world_size} processes share each batch"


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


def _finish(desk: Desk) -> Iterator[Event]:
    run, folder = desk.run, desk.run.folder
    yield from desk.publish_log()
    assert run.progress.best_val_loss is not None  # the last step is always evaluated
    files = {"best": folder.best, "last": folder.last, "log": folder.log, "samples": folder.samples,
             **desk.published}  # fmt: skip
    yield Finished(
        folder=folder.path, steps=run.progress.step, seconds=run.progress.seconds,
        best_val_loss=run.progress.best_val_loss, best_step=run.progress.best_step,
        floor=run.held_out.floor, files=files,
    )  # fmt: skip
