"""Trainings that are disturbed: a new one, one in an old one's place, one that is resumed, one with a damaged state.

Each is small and takes a tenth of a second. What a scenario is, and where it takes place, is told in `disturbed.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from accidents.disturbed import SIZES, Preparing, PreparingPairs, Scenario, Told, files_in, is_aside, sha256_of, silent
from glassgpt.checkpoint import Checkpoint, load_checkpoint
from glassgpt.errors import CheckpointError
from glassgpt.files import drafts_in
from glassgpt.lab.picture import with_picture
from glassgpt.recovery import find_state
from glassgpt.runs import RunFolder
from glassgpt.settings import Settings, resolve
from glassgpt.training.events import Event, Saved
from glassgpt.training.loop import resume, train
from glassgpt.training.metrics import rows_up_to

PLACES = ["out/best.pt", "out/best.safetensors", "out/log.csv"]
FOLDER = RunFolder(Path("runs/x"))
SEED, OLD_SEED = 1, 2


class Training(Scenario):
    """A short one in new folders; it publishes nothing and writes no samples."""

    name = "a new run"
    choices: ClassVar[dict[str, Any]] = {"sample_every": 0, "publish": [], "max_steps": 2}
    overwrite = False

    def act(self, told: Told) -> None:
        _watch(train(self.command(), overwrite=self.overwrite), told)

    def command(self, **more: Any) -> Settings:
        wanted = {"data": [str(self.world / "owl.txt")], "out": str(FOLDER.path), "seed": SEED, **self.choices}
        return resolve(flags=SIZES | wanted | more)

    def go_on(self) -> None:
        if (FOLDER.last.is_file() or FOLDER.previous.is_file()) and _is_mine(find_state(FOLDER.path).checkpoint):
            _watch(resume(FOLDER.path, {}), silent)
        else:  # where the best lies alone, before any state was saved, the refusal says to --overwrite
            _watch(train(self.command(), overwrite=self.overwrite or FOLDER.best.is_file()), silent)

    def left(self) -> dict[str, str]:
        """A state before the last is another one after a death."""
        paths = [path for path in files_in(Path()) if not is_aside(path.name) and path != FOLDER.previous]
        return {str(path): sha256_of(path) for path in paths} | {path.name: "" for path in drafts_in(FOLDER.path)}

    def torn(self, saved_step: int) -> list[str]:
        found = [f"{path} is torn" for path in files_in(Path()) if not is_aside(path.name) and not self.is_whole(path)]
        if saved_step or FOLDER.last.is_file() or FOLDER.previous.is_file():
            found += _lost(saved_step)
        return found

    def is_whole(self, path: Path) -> bool:
        if path.suffix not in {".safetensors", ".pt"}:
            return True
        try:
            load_checkpoint(path)
        except CheckpointError:
            return False
        return True


class Overwriting(Training):
    name = "a new run in an old one's place, with samples, published copies and kept weights"
    choices: ClassVar[dict[str, Any]] = {"publish": PLACES, "keep_every": 3}
    overwrite = True

    def lay(self) -> None:
        _watch(train(self.command(seed=OLD_SEED)), silent)


class Resuming(Training):
    name = "a stopped run, resumed"
    choices: ClassVar[dict[str, Any]] = {"publish": PLACES[2:], "keep_every": 3}

    def lay(self) -> None:
        _begin(self.command(), until_step=4)

    def act(self, told: Told) -> None:
        _watch(resume(FOLDER.path, {}), told)


class Recovering(Resuming):
    """The newest good state is the one before the last: that one has a wrong byte."""

    name = "a run whose last state is damaged, resumed"

    def lay(self) -> None:
        super().lay()
        content = bytearray(FOLDER.last.read_bytes())
        content[-1] ^= 1
        FOLDER.last.write_bytes(content)
        self.damaged = bytes(content)

    def is_whole(self, path: Path) -> bool:
        return super().is_whole(path) or path.read_bytes() == self.damaged


ALL: tuple[type[Scenario], ...] = (Overwriting, Training, Resuming, Recovering, Preparing, PreparingPairs)


def _watch(events: Iterator[Event], told: Told) -> None:
    for event in with_picture(events):
        told(event)


def _begin(command: Settings, *, until_step: int) -> None:
    """A run that was left when so much had been saved, a little later."""
    events = train(command)
    for event in events:
        if isinstance(event, Saved) and event.path == FOLDER.last and event.step == until_step:
            break
    events.close()  # type: ignore[attr-defined]


def _is_mine(checkpoint: Checkpoint) -> bool:
    return bool(checkpoint.settings["seed"] == SEED)


def _lost(saved_step: int) -> list[str]:
    try:
        found = find_state(FOLDER.path).checkpoint
    except CheckpointError as problem:
        return [str(problem)]
    if saved_step and (found.step < saved_step or not _is_mine(found)):
        return [f"step {saved_step} was said to be saved, and step {found.step} was found"]
    steps = [int(row[0]) for row in rows_up_to(FOLDER.log, found.step)]
    return [] if steps == list(range(1, found.step + 1)) else [f"the log of step {found.step} has the steps {steps}"]
