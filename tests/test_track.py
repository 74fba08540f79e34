"""Curves for TensorBoard and Weights & Biases: everything that was measured, once, and no training ended by them.

Both packages run in processes of their own here: their warnings and their threads are not ours.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from glassgpt.cli.main import main
from glassgpt.config import RunConfig
from glassgpt.errors import MissingExtraError
from glassgpt.lab.track import require_trackers, tracked
from glassgpt.training.events import Event, Note, Started, Stepped

EVENTS = """
import os, sys
from pathlib import Path
from glassgpt.config import RunConfig
from glassgpt.lab.track import tracked
from glassgpt.training.events import Evaluated, Note, Sampled, Started, Stepped

def started(folder, step=0, **choices):
    return Started(config=RunConfig(**choices), folder=Path(folder), step=step, parameters=7, train_tokens=1,
                   val_tokens=1, epochs=1.0, floor=None)

def stepped(step, loss):
    return Stepped(step=step, tokens=step * 8, seconds=1.0, loss=loss, learning_rate=1e-3, gradient_norm=0.5,
                   tokens_per_s=100.0, mfu=None)

def evaluated(step, loss, best):
    return Evaluated(step=step, train_loss=1.0, val_loss=loss, floor=0.25, is_best=best)

folder = sys.argv[1]
"""


NOTHING: Mapping[str, str] = {}


def run_python(program: str, *arguments: object, expect: int = 0, environment: Mapping[str, str] = NOTHING) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")} | dict(environment),
    )  # fmt: skip
    assert done.returncode == expect, done.stderr
    return done.stdout


READ_BOARD = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
board = EventAccumulator(sys.argv[1]).Reload()
tags = board.Tags()
print(json.dumps({
    "scalars": {tag: [[one.step, one.value] for one in board.Scalars(tag)] for tag in tags["scalars"]},
    "texts": {tag: [one.tensor_proto.string_val[0].decode() for one in board.Tensors(tag)] for tag in tags["tensors"]},
}))
"""


def test_tensorboard_holds_what_was_measured_and_a_resumed_run_leaves_no_doubled_points(tmp_path: Path) -> None:
    first = """
run = [started(folder, tensorboard=True), stepped(10, 3.0), evaluated(10, 2.5, True),
       Sampled(step=10, text="* a\\n<b>"), stepped(20, 2.0), evaluated(20, 2.75, False), stepped(30, 1.5)]
passed = list(tracked(iter(run)))
assert [event for event in passed if not isinstance(event, Note)] == run
"""
    again = "list(tracked(iter([started(folder, 20, tensorboard=True), stepped(30, 1.0), stepped(40, 0.5)])))"
    run_python(EVENTS + first, tmp_path)
    run_python(EVENTS + again, tmp_path)
    board = json.loads(run_python(READ_BOARD, tmp_path / "tensorboard"))
    assert board["scalars"]["loss/train"] == [[10, 3.0], [20, 2.0], [30, 1.0], [40, 0.5]]
    assert board["scalars"]["loss/val"] == [[10, 2.5], [20, 2.75]]
    assert board["scalars"]["loss/best_val"] == [[10, 2.5]]
    assert board["scalars"]["loss/floor"] == [[10, 0.25], [20, 0.25]]
    assert [step for step, _ in board["scalars"]["optimizer/learning_rate"]] == [10, 20, 30, 40]
    assert {"optimizer/gradient_norm", "speed/tokens_per_s"} <= board["scalars"].keys()
    assert "speed/mfu" not in board["scalars"]  # it was not known
    assert board["texts"]["sample/text_summary"] == ["    * a\n    <b>"]
    assert "    tensorboard: true" in board["texts"]["configuration/text_summary"][0]


READ_WANDB = """
import json, struct, sys
from pathlib import Path
from wandb.proto import wandb_internal_pb2

def records(data, block=32768):  # LevelDB's log format, behind a header of seven bytes
    place, whole = 7, b""
    while place + 7 <= len(data):
        if block - place % block < 7:
            place += block - place % block
            continue
        _, length, kind = struct.unpack("<IHB", data[place:place + 7])
        whole += data[place + 7:place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # all of a record, or its last part
            yield whole
            whole = b""

(path,) = Path(sys.argv[1]).glob("wandb/offline-run-*/run-*.wandb")
found = {"config": {}, "history": []}
for data in records(path.read_bytes()):
    record = wandb_internal_pb2.Record()
    record.ParseFromString(data)
    if record.WhichOneof("record_type") == "run":
        found |= {"id": record.run.run_id, "project": record.run.project, "name": record.run.display_name}
        found["config"] |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
    if record.WhichOneof("record_type") == "history":
        items = record.history.item
        found["history"].append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
print(json.dumps(found))
"""
WANDB_RUN = """
run = [started(folder, wandb=True, wandb_project="ours"), stepped(10, 3.0), evaluated(10, 2.5, True),
       Sampled(step=10, text="<b>"), stepped(20, 2.0)]
passed = list(tracked(iter(run)))
assert [event for event in passed if not isinstance(event, Note)] == run
print(*[event.text for event in passed if isinstance(event, Note)])
"""


def without_wandb_settings(home: Path) -> dict[str, str]:
    """Nothing of whoever runs the tests: no key, no settings."""
    return {"HOME": str(home), "WANDB_API_KEY": "", "WANDB_CONFIG_DIR": str(home), "WANDB_CACHE_DIR": str(home),
            "WANDB_DATA_DIR": str(home), "NETRC": str(home / "netrc")}  # fmt: skip


def test_wandb_offline_keeps_config_and_history_in_the_run_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a run"
    folder.mkdir()
    said = run_python(
        EVENTS + WANDB_RUN, folder, environment=without_wandb_settings(tmp_path) | {"WANDB_MODE": "offline"}
    )
    assert f"wandb sync {folder}" in said
    found = json.loads(run_python(READ_WANDB, folder))
    assert (found["project"], found["name"]) == ("ours", "a run")
    assert found["id"] == (folder / "wandb" / "id.txt").read_text(encoding="utf-8")
    assert found["config"]["d_model"] == RunConfig().model.d_model
    assert found["config"]["parameters"] == 7
    history = found["history"]
    assert [row["loss/train"] for row in history if "loss/train" in row] == [3.0, 2.0]
    assert [row["step"] for row in history] == [10, 10, 10, 20]
    assert [row["loss/best_val"] for row in history if "loss/best_val" in row] == [2.5]


def test_a_wandb_that_cannot_be_reached_ends_no_training_and_keeps_the_curves(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    key = {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}  # the port that nobody answers at
    hasty = EVENTS.replace("folder = sys", "import glassgpt.lab.track as track; track.PATIENCE_S = 1\nfolder = sys")
    said = run_python(hasty + WANDB_RUN, folder, environment=without_wandb_settings(tmp_path) | key)
    assert said.startswith("Weights & Biases cannot be reached (")
    assert said.count("\n") == 1
    assert [row["step"] for row in json.loads(run_python(READ_WANDB, folder))["history"]] == [10, 10, 10, 20]


def test_a_resumed_run_is_the_same_run_there_and_a_new_one_another(tmp_path: Path) -> None:
    program = (
        EVENTS
        + """
from glassgpt.lab.track import _stable_id
first = _stable_id(started(folder))
assert _stable_id(started(folder, 10)) == first
assert _stable_id(started(folder)) != first
"""
    )
    run_python(program, tmp_path)


def started(**choices: Any) -> Started:
    return Started(config=RunConfig(**choices), folder=Path("runs/none"), step=0, parameters=1, train_tokens=1,
                   val_tokens=1, epochs=1.0, floor=None)  # fmt: skip


def stepped(step: int) -> Stepped:
    return Stepped(step=step, tokens=1, seconds=1.0, loss=1.0, learning_rate=1.0, gradient_norm=1.0, tokens_per_s=1.0,
                   mfu=None)  # fmt: skip


def test_whoever_asks_for_nothing_gets_the_events_and_needs_no_package(tmp_path: Path) -> None:
    run: list[Event] = [Note(text="hello"), started(), stepped(1)]
    assert list(tracked(iter(run))) == run
    program = (
        EVENTS
        + """
list(tracked(iter([started(folder), stepped(1, 1.0)])))
assert not {"tensorboard", "wandb"} & sys.modules.keys()
"""
    )
    run_python(program, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_a_package_that_is_not_there_is_named_before_the_first_step(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = started(**{package: True})
    taken: list[Event] = []

    def events() -> Iterator[Event]:
        yield config
        taken.append(stepped(1))
        yield taken[0]

    with pytest.raises(MissingExtraError, match=rf"'{package}'; bring it with: pip install 'glassgpt\[track\]'"):
        list(tracked(events()))
    assert taken == []
    with pytest.raises(MissingExtraError):
        require_trackers(config.config)


def test_an_old_run_is_not_given_up_for_a_viewer_that_is_not_there(
    at_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "wandb" else find(name))
    log = at_home / "runs" / "book" / "log.csv"
    before = log.read_bytes()
    assert main(["train", "book.txt", "--overwrite", "--wandb"]) == 2
    assert "this needs the package 'wandb'" in capsys.readouterr().err
    assert log.read_bytes() == before


class Board:
    """A viewer that breaks at the first number."""

    name = "the board"
    folder = Path("board")

    def __init__(self, started: Started) -> None:
        self.closed = 0
        BOARDS.append(self)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        raise ConnectionResetError("Connection lost")

    def text(self, step: int, name: str, text: str) -> None: ...

    def close(self) -> None:
        self.closed += 1
        raise ConnectionResetError("Connection lost")


BOARDS: list[Board] = []


def endless() -> Iterator[Event]:
    yield started(tensorboard=True)
    for step in range(1, 4):
        yield stepped(step)
    raise ZeroDivisionError


def test_a_writer_that_breaks_is_left_out_and_the_training_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glassgpt.lab.track.TensorBoard", Board)
    passed: list[Event] = []
    with pytest.raises(ZeroDivisionError):
        passed.extend(tracked(endless()))  # what came before the failure stays in the list
    assert [one for one in passed if not isinstance(one, Note)] == [started(tensorboard=True), *map(stepped, (1, 2, 3))]
    notes = [one.text for one in passed if isinstance(one, Note)]
    assert notes[1:] == ["the board was lost (Connection lost); the training goes on without it"]


def test_a_viewer_is_closed_when_the_loop_fails_and_when_nobody_wants_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glassgpt.lab.track.TensorBoard", Board)
    with pytest.raises(ZeroDivisionError):
        list(tracked(endless()))
    assert BOARDS[-1].closed == 1
    stream = tracked(endless())
    next(stream)
    assert isinstance(stream, Generator)
    stream.close()
    assert BOARDS[-1].closed == 1


@pytest.mark.usefixtures("at_home")
def test_a_training_with_tensorboard_has_the_losses_of_one_without(tmp_path: Path) -> None:
    program = """
import sys, glassgpt
choices = dict(max_steps=4, log_every=1, n_layers=1, d_model=16, n_heads=2, seq_len=16, max_seq_len=32, batch_size=4,
               device="cpu", precision="fp32", threads=1)
for name in ("plain", "tracked"):
    glassgpt.train("book.txt", out=sys.argv[1] + name, tensorboard=name == "tracked", **choices)
"""
    folder = tmp_path / "run-"
    run_python(program, folder)
    logs = [Path(f"{folder}{name}/log.csv").read_text(encoding="utf-8") for name in ("plain", "tracked")]
    losses = [[line.split(",")[3] for line in log.splitlines()] for log in logs]
    assert losses[0] == losses[1]
    board = json.loads(run_python(READ_BOARD, f"{folder}tracked/tensorboard"))
    assert [step for step, _ in board["scalars"]["loss/train"]] == [1, 2, 3, 4]
