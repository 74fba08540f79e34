"""log.csv: which columns it has, when a line is safe, and what a resumed run makes of it."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgpt.lab.logs import read_log
from glassgpt.training.metrics import COLUMNS, Log, Row, rows_up_to

HEADER = "step,tokens,seconds,train_loss,val_loss,learning_rate,gradient_norm,tokens_per_s,mfu,floor"
ROW = Row(
    step=10, tokens=5120, seconds=1.5, train_loss=3.25, val_loss=None, learning_rate=1e-3, gradient_norm=0.5,
    tokens_per_s=3413.3, mfu=None, floor=None,
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.csv"


def log_of(path: Path, *steps: int) -> None:
    log = Log(path, up_to_step=0)
    for step in steps:
        log.write(replace(ROW, step=step))


def test_the_first_line_names_the_columns_before_anything_was_measured(path: Path) -> None:
    Log(path, up_to_step=0)
    assert path.read_text(encoding="utf-8") == HEADER + "\n"
    assert ",".join(COLUMNS) == HEADER


def test_a_value_that_was_not_measured_is_an_empty_cell(path: Path) -> None:
    Log(path, up_to_step=0).write(ROW)
    assert path.read_bytes().split(b"\n")[1] == b"10,5120,1.5,3.25,,0.001,0.5,3413.3,,"


def test_a_value_that_was_measured_has_its_cell(path: Path) -> None:
    Log(path, up_to_step=0).write(replace(ROW, val_loss=3.5, mfu=0.41, floor=0.366))
    (row,) = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    assert (row["val_loss"], row["mfu"], row["floor"]) == ("3.5", "0.41", "0.366")


def test_a_line_is_whole_in_the_file_before_the_next_step_begins(path: Path) -> None:
    log = Log(path, up_to_step=0)
    for step in (1, 2, 3):
        log.write(replace(ROW, step=step))
        text = path.read_text(encoding="utf-8")  # through another handle, as somebody who watches the file
        assert text.count("\n") == step + 1
        assert text.endswith("\n")


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")
def test_what_was_logged_outlives_a_process_that_is_killed(path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from glassgpt.training.metrics import Log, Row\n"
        "row = dict(tokens=1, seconds=1.0, train_loss=2.0, val_loss=None, learning_rate=1e-3, gradient_norm=1.0,\n"
        "           tokens_per_s=1.0, mfu=None, floor=None)\n"
        "log = Log(Path(sys.argv[1]), up_to_step=0)\n"
        "for step in (1, 2, 3): log.write(Row(step=step, **row))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False, env=environment)
    assert done.returncode == -signal.SIGKILL
    assert read_log(path).columns["step"] == [1, 2, 3]


def test_a_resumed_run_removes_the_rows_behind_its_checkpoint(path: Path) -> None:
    log_of(path, 10, 20, 30)
    Log(path, up_to_step=20).write(replace(ROW, step=30, train_loss=2.0))
    assert [row[0] for row in rows_up_to(path, 99)] == ["10", "20", "30"]
    assert read_log(path).points("train_loss") == ([10, 20, 30], [3.25, 3.25, 2.0])


def test_resuming_keeps_earlier_rows_byte_for_byte(path: Path) -> None:
    log_of(path, 10, 20)
    before = path.read_bytes()
    Log(path, up_to_step=20)
    assert path.read_bytes() == before


@pytest.mark.parametrize("length", range(1, 36))
def test_a_last_line_that_was_cut_is_gone_after_resuming(path: Path, length: int) -> None:
    log_of(path, 10, 20)
    whole = path.read_bytes()
    path.write_bytes(whole + b"30,5120,1.5,3.25,,0.001,0.5,3413.3,,"[:length])
    assert read_log(path).columns["step"] == [10, 20]
    Log(path, up_to_step=20)
    assert path.read_bytes() == whole


def test_a_new_run_begins_an_empty_log(path: Path) -> None:
    log_of(path, 10, 20)
    Log(path, up_to_step=0)
    assert path.read_text(encoding="utf-8") == HEADER + "\n"


NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(loss=NUMBERS, val_loss=st.none() | NUMBERS, step=st.integers(1, 10**9))
def test_whatever_was_measured_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, loss: float, val_loss: float | None, step: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "log.csv"
    Log(path, up_to_step=0).write(replace(ROW, step=step, train_loss=loss, val_loss=val_loss))
    columns = read_log(path)
    assert columns.columns["step"] == [step]
    assert columns.points("train_loss")[1] == [pytest.approx(loss, rel=1e-5)]
    assert columns.points("val_loss")[1] == ([] if val_loss is None else [pytest.approx(val_loss, rel=1e-5)])


def test_a_trained_runs_log_has_its_evaluations_where_they_were_made(at_home: Path) -> None:
    log = read_log(at_home / "runs" / "book" / "log.csv")
    assert tuple(log.columns) == COLUMNS
    assert log.points("val_loss")[0] == [6, 12]
