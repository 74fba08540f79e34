"""A run that was stopped and resumed ends with the bits of one that never stopped."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from glassgpt.checkpoint import Checkpoint, load_checkpoint
from glassgpt.errors import RunError
from glassgpt.settings import resolve
from glassgpt.training.events import Event, Finished, Note, Over, Started, Stepped, Stopped
from glassgpt.training.loop import resume, train
from glassgpt.training.metrics import COLUMNS, TIME_COLUMNS

STEPS = 24  # few, for it is stopped at each; enough for three saves, three evaluations and more than two epochs
RUN: dict[str, Any] = {
    "d_model": 16, "n_layers": 1, "n_heads": 2, "max_seq_len": 16, "seq_len": 16, "batch_size": 16, "grad_accum": 2,
    "dropout": 0.2, "threads": 1, "precision": "fp32", "max_steps": STEPS, "warmup_steps": 5, "schedule": "cosine",
    "eval_every": 10, "sample_every": 0, "save_every": 8, "log_every": 1, "sample_prompt": "1",
}  # fmt: skip


def begin(text: Path, out: Path, **choices: Any) -> Iterator[Event]:
    return train(resolve(flags=RUN | {"data": str(text), "out": str(out)} | choices))


def stop_at(events: Iterator[Event], step: int) -> None:
    """Ctrl-C in the middle of a step: a real signal to this process."""
    for event in events:
        if isinstance(event, Stepped) and event.step == step:
            os.kill(os.getpid(), signal.SIGINT)
    assert isinstance(event, Stopped)
    assert event.step == step


def same(one: Checkpoint, other: Checkpoint) -> bool:
    tensors = [(one.weights, other.weights), (one.optimizer, other.optimizer)]
    facts = [{k: v for k, v in point.metrics.items() if k != "seconds"} for point in (one, other)]
    return facts[0] == facts[1] and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in tensors
    )


def log_without_times(folder: Path) -> list[list[str]]:
    keep = [place for place, name in enumerate(COLUMNS) if name not in TIME_COLUMNS]
    rows = (folder / "log.csv").read_text(encoding="utf-8").splitlines()
    return [[row.split(",")[place] for place in keep] for row in rows]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "numbers.txt"
    path.write_text("".join(f"{n} and {n * n}, " for n in range(230)), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=["adamw", "muon"])
def whole(request: pytest.FixtureRequest, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing interrupts, over more than two epochs."""
    folder: Path = tmp_path_factory.mktemp("whole") / str(request.param)
    events = list(begin(text, folder, optimizer=request.param))
    tokens = next(event.train_tokens for event in events if isinstance(event, Started))
    assert 2 * tokens < STEPS * 16 * 16
    return folder


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_stopped_at_any_of_its_steps_ends_with_the_same_bits(
    text: Path, whole: Path, tmp_path: Path, every: int
) -> None:
    """Among each third step are one with a save (16), one with an evaluation (10), and their neighbours."""
    truth = load_checkpoint(whole / "last.safetensors")
    wrong = []
    for step in range(1, STEPS, every):
        folder = tmp_path / f"run{step}"
        stop_at(begin(text, folder, optimizer=whole.name), step)
        assert isinstance(list(resume(folder, {}))[-1], Finished)
        ended = load_checkpoint(folder / "last.safetensors")
        if not same(truth, ended) or log_without_times(folder) != log_without_times(whole):
            wrong.append(step)
        assert (folder / "samples.txt").read_bytes() == (whole / "samples.txt").read_bytes()
        assert same(load_checkpoint(folder / "best.safetensors"), load_checkpoint(whole / "best.safetensors"))
    assert not wrong


def test_a_run_stopped_three_times_ends_with_the_same_bits(text: Path, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    stop_at(begin(text, folder, optimizer=whole.name), 5)
    stop_at(resume(folder, {}), 6)
    stop_at(resume(folder, {}), 19)
    list(resume(folder, {}))
    assert same(load_checkpoint(folder / "last.safetensors"), load_checkpoint(whole / "last.safetensors"))


def test_a_killed_run_repeats_what_it_had_not_saved(text: Path, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    events = begin(text, folder, optimizer=whole.name)
    for event in events:
        if isinstance(event, Stepped) and event.step == 13:
            break
    killed = tmp_path / "killed"
    shutil.copytree(folder, killed)  # what a power cut would have left: a log that is ahead of the checkpoint
    events.close()  # type: ignore[attr-defined]
    (killed / "log.csv").write_bytes((killed / "log.csv").read_bytes()[:-9])
    list(resume(killed, {}))
    assert same(load_checkpoint(killed / "last.safetensors"), load_checkpoint(whole / "last.safetensors"))
    assert log_without_times(killed) == log_without_times(whole)


def test_going_on_with_a_finished_run_says_so_and_changes_nothing(whole: Path) -> None:
    before = (whole / "last.safetensors").read_bytes()
    (event,) = resume(whole, {})
    assert event == Over(folder=whole, steps=STEPS)
    assert (whole / "last.safetensors").read_bytes() == before


def test_a_finished_run_can_be_made_longer(text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    list(begin(text, folder, max_steps=10))
    events = list(resume(folder, {"max_steps": 15}))
    assert [event.text for event in events if isinstance(event, Note)][1:] == ["max_steps was 10 and is now 15"]
    assert load_checkpoint(folder / "last.safetensors").step == 15


@pytest.mark.parametrize(("name", "value"), [("d_model", 32), ("batch_size", 8), ("seed", 2), ("learning_rate", 1.0)])
def test_what_would_make_it_another_run_is_refused_with_both_values(whole: Path, name: str, value: float) -> None:
    with pytest.raises(RunError, match=rf"{name}=.* cannot go on with {name}={value}"):
        list(resume(whole, {name: value, "max_steps": 100}))


def test_other_text_is_refused(text: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_bytes(text.read_bytes())
    folder = tmp_path / "run"
    list(begin(mine, folder, max_steps=5))
    mine.write_bytes(text.read_bytes().replace(b"and", b"adn"))
    with pytest.raises(
        RunError, match=r"mine\.txt: it is not the text that this run began with \(digest \w+ now, \w+ then\)"
    ):
        list(resume(folder, {"max_steps": 10}))


def test_two_processes_cannot_write_one_run(text: Path, tmp_path: Path) -> None:
    events = begin(text, tmp_path / "run")
    next(events)
    with pytest.raises(RunError, match=f"in use by process {os.getpid()}"):
        list(resume_when_saved(tmp_path / "run"))
    events.close()  # type: ignore[attr-defined]


def resume_when_saved(folder: Path) -> Iterator[Event]:
    (folder / "last.safetensors").write_bytes(b"")  # the lock is asked before the file is read
    return resume(folder, {})
