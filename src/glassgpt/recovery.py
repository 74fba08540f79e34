"""Which of a run's checkpoints is meant, and which one serves when that is damaged.

A run keeps what it saved last and what it saved before that. Who names a folder gets the newest of them that is whole,
and hears what was lost; who names a file gets that file, or is refused. Where they lie is told in `runs.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glassgpt.checkpoint import Checkpoint, load_checkpoint
from glassgpt.errors import CheckpointError, RunError
from glassgpt.runs import RunFolder, find_run


@dataclass(frozen=True)
class Found:
    """A checkpoint that is whole, where it lies, and what a person should hear of those that are not."""

    checkpoint: Checkpoint
    path: Path
    notes: tuple[str, ...] = ()


def find_whole(run: str | Path | None) -> Found:
    """What a RUN argument means: of a folder the best that is whole, of a file that one."""
    path = find_run(run)
    if path.is_file():
        return Found(load_checkpoint(path), path)
    return first_whole(RunFolder(path).checkpoints())


def resumable(run: str | Path) -> RunFolder:
    """The folder of a run that can be gone on with; nothing is read yet."""
    path = find_run(run)
    folder = RunFolder(path.parent if path.is_file() else path)
    if path.is_file() and path not in {folder.last, folder.previous}:
        raise RunError(f"{path} cannot be resumed; name a run folder, or the {folder.last.name} in one")
    if not folder.last.is_file() and not folder.previous.is_file():
        raise RunError(f"{path} cannot be resumed: it is no run folder with a {folder.last.name}")
    return folder


def find_state(run: str | Path) -> Found:
    """What a run goes on from: the newest of its states that is whole, or the one that was named."""
    folder, path = resumable(run), find_run(run)
    if path.is_file():
        return Found(load_checkpoint(path), path)
    found = first_whole([state for state in (folder.last, folder.previous) if state.is_file()])
    if found.path == folder.last:
        return found
    missing = () if folder.last.is_file() else (f"{folder.last} is missing; {found.path.name} is taken instead",)
    lost = f"going on from step {found.checkpoint.step}; what came after it is computed again"
    return Found(found.checkpoint, found.path, (*found.notes, *missing, lost))


def first_whole(paths: Sequence[Path]) -> Found:
    """The first that can be read; when there is none, what is wrong with the first."""
    problems: list[CheckpointError] = []
    for path in paths:
        try:
            checkpoint = load_checkpoint(path)
        except CheckpointError as problem:
            problems.append(problem)
        else:
            notes = [f"{problem}; {path.name} (step {checkpoint.step}) is taken instead" for problem in problems]
            return Found(checkpoint, path, tuple(notes))
    others = f"; no better: {', '.join(path.name for path in paths[1:])}" if len(paths) > 1 else ""
    raise CheckpointError(f"{problems[0]}{others}")
