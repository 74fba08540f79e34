"""Processes share a sweep, and whichever of them is killed, each trial is done once."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from glassgpt.cli.main import main
from glassgpt.lab.plan import Plan, read_plan
from glassgpt.lab.storage import cut_half_line, open_storage
from glassgpt.lab.study import MOST_DEATHS, SILENCE_S, Board, Claim

SWEEP = """\
base: {{n_layers: 1, d_model: 16, n_heads: 2, max_seq_len: 8, seq_len: 8, batch_size: 4, max_steps: {steps}, threads: 1,
  eval_every: 10, eval_batches: 2, save_every: 10, sample_every: 0, log_every: 2, device: cpu, precision: fp32,
  optimizer: adamw, data: "{data}"}}
search: {{learning_rate: {{low: 1.0e-4, high: 1.0e-1, log: true}}, beta2: [0.9, 0.99]}}
pruning: {pruning}
trials: {trials}
out: "{out}"
"""


def write_sweep(folder: Path, text: Path, *, trials: int, steps: int = 20, pruning: str = "none") -> Path:
    file = folder / "my.yaml"
    out = folder / "sweep"
    file.write_text(SWEEP.format(data=text, out=out, trials=trials, steps=steps, pruning=pruning), encoding="utf-8")
    return file


def start(file: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "glassgpt", "sweep", "--config", str(file)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def in_the_middle(worker: subprocess.Popen[str], file: Path, *, beyond: int = 0) -> Path:
    """Waits until a trial of this worker has a checkpoint and is not done; its folder."""
    journal = file.parent / "sweep" / "sweep.journal"
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert worker.poll() is None, worker.communicate()[0]
        for folder in sorted((file.parent / "sweep").glob("trial-*")):
            owner = folder / ".owner"
            if (folder / "last.safetensors").is_file() and owner.is_file() and owner.read_text() == str(worker.pid):
                return folder
        time.sleep(0.01)
    raise AssertionError(f"no trial began: {journal}")


def rows_of(file: Path) -> list[dict[str, str]]:
    text = (file.parent / "sweep" / "trials.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def steps_logged(folder: Path) -> list[int]:
    lines = (folder / "log.csv").read_text(encoding="utf-8").splitlines()[1:]
    return [int(line.split(",")[0]) for line in lines]


def killed_and_restarted(file: Path, *, trials: int, steps: int) -> None:
    """Two processes; one is killed in the middle of a trial and started again; all trials end, each done once."""
    first, second = start(file), start(file)
    victim = in_the_middle(first, file)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    third = start(file)
    said = [worker.communicate(timeout=400)[0] for worker in (second, third)]
    assert [second.returncode, third.returncode] == [0, 0], said
    rows = rows_of(file)
    assert [int(row["number"]) for row in rows] == list(range(trials))
    assert {row["state"] for row in rows} <= {"finished", "pruned"}
    assert sum(f"trial {int(victim.name[-3:]):>3}  goes on" in words for words in said) == 1
    for row in rows:
        ended = [
            line for words in said for line in words.splitlines() if line.startswith(f"trial {row['number']:>3}  ")
        ]
        assert sum("best " in line for line in ended) <= 1  # those of the killed process were said by itself
        logged = steps_logged(file.parent / "sweep" / f"trial-{int(row['number']):03}")
        assert logged == sorted(set(logged))
        if row["state"] == "finished":
            assert logged[-1] == steps


def test_four_trials_in_two_processes_of_which_one_is_killed_end_as_four(tmp_path: Path, rhyme: Path) -> None:
    killed_and_restarted(write_sweep(tmp_path, rhyme, trials=4, steps=40), trials=4, steps=40)


@pytest.mark.slow
def test_twelve_trials_in_two_processes_of_which_one_is_killed_end_as_twelve(tmp_path: Path, rhyme: Path) -> None:
    file = write_sweep(tmp_path, rhyme, trials=12, steps=40, pruning="median")
    killed_and_restarted(file, trials=12, steps=40)


def test_sigterm_stops_a_sweep_with_its_exit_code_and_keeps_the_trial(tmp_path: Path, rhyme: Path) -> None:
    file = write_sweep(tmp_path, rhyme, trials=2, steps=100_000)
    worker = start(file)
    folder = in_the_middle(worker, file)
    worker.terminate()
    said = worker.communicate(timeout=60)[0]
    assert worker.returncode == 143
    assert "stopped (SIGTERM); trial 0 is kept where it was. The same command goes on." in said
    assert (folder / "last.safetensors").is_file()


@pytest.fixture
def file(tmp_path: Path, rhyme: Path) -> Path:
    return write_sweep(tmp_path, rhyme, trials=4)


@contextmanager
def board_of(file: Path, **budget: Any) -> Iterator[Board]:
    """One process's view of the trials, which are not trained here."""
    plan: Plan = read_plan(file, budget=budget, flags={})
    with open_storage(plan.storage) as storage:
        yield Board(plan, storage)


def take(board: Board) -> Claim:
    claim = board.claim()
    assert claim is not None
    return claim


def die(claim: Claim) -> None:
    """What a killed process leaves behind: a trial that is running, and no lock."""
    claim._lock.release()


@pytest.fixture(params=["journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return f"sqlite:///{tmp_path}/trials.db" if request.param == "sqlite" else None


def test_two_processes_never_take_the_same_trial_nor_more_than_there_are(file: Path, storage: str | None) -> None:
    with board_of(file, storage=storage) as one, board_of(file, storage=storage) as two:
        claims = [take(one), take(two), take(two), take(one)]
        assert [claim.number for claim in claims] == [0, 1, 2, 3]
        assert one.claim() is None
        assert two.claim() is None
        assert len({str(claim.params) for claim in claims}) == 4
        assert one.neighbours() == [0, 1, 2, 3]
        for claim in claims:
            claim.finish(1.0 + claim.number, steps=1, seconds=1.0)
        assert [record.state for record in two.records()] == ["finished"] * 4


def test_a_killed_process_s_trial_is_the_next_one_with_the_same_settings(file: Path, storage: str | None) -> None:
    with board_of(file, storage=storage) as one, board_of(file, storage=storage) as two:
        lost, kept = take(one), take(one)
        lost.report(10, 2.0)
        die(lost)
        again = take(two)
        assert (again.number, again.params, again.again) == (lost.number, lost.params, True)
        again.report(10, 2.0)
        again.report(20, 1.9)
        again.finish(1.9, steps=20, seconds=2.0)
        kept.finish(1.8, steps=20, seconds=2.0)
        assert take(two).number == 2


def test_what_is_tried_does_not_depend_on_stops_and_processes(file: Path, tmp_path: Path, rhyme: Path) -> None:
    def values(folder: str, *, opened_anew: bool) -> list[Any]:
        path = write_sweep(tmp_path / folder, rhyme, trials=9)
        tried: list[Any] = []
        while len(tried) < 9:
            with board_of(path) as board:
                for _ in range(1 if opened_anew else 9):
                    claim = take(board)
                    tried.append(claim.params)
                    claim.finish(float(str(claim.params["learning_rate"])), steps=1, seconds=1.0)
        return tried

    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    assert values("one", opened_anew=False) == values("two", opened_anew=True)


def test_the_base_itself_is_tried_first_where_the_search_holds_it(file: Path) -> None:
    with board_of(file) as board:
        assert board.plan.base.config.training.beta2 == 0.95  # not among the choices
        assert board.records() == []
    text = file.read_text(encoding="utf-8").replace("beta2: [0.9, 0.99]", "beta2: [0.9, 0.95]")
    file.write_text(text.replace('sweep"', 'other"'), encoding="utf-8")
    with board_of(file) as board:
        first, second = take(board), take(board)
        assert first.params == {"learning_rate": 0.01, "beta2": 0.95}
        assert (first.number, second.number) == (0, 1)


def test_a_trial_that_kills_every_process_is_given_up(file: Path) -> None:
    with board_of(file) as board:
        for _ in range(MOST_DEATHS):
            claim = take(board)
            assert claim.number == 0
            die(claim)
        assert take(board).number == 1
        assert board.records()[0].state == "failed"
        assert "was killed 3 times" in board.records()[0].why


def test_a_trial_that_was_stopped_kindly_may_be_stopped_often(file: Path) -> None:
    with board_of(file) as board:
        for _ in range(MOST_DEATHS + 2):
            claim = take(board)
            assert claim.number == 0
            claim.leave()


def test_another_machine_s_trial_is_left_alone_until_it_was_silent_for_long(file: Path) -> None:
    with board_of(file) as board:
        claim = take(board)
        claim.note(host="elsewhere")
        die(claim)
        assert take(board).number == 1
        claim.note(seen=time.time() - SILENCE_S - 1)
        assert take(board).number == 0


def test_a_hopeless_trial_is_told_so(tmp_path: Path, rhyme: Path) -> None:
    with board_of(write_sweep(tmp_path, rhyme, trials=6, pruning="median")) as board:
        for _ in range(4):
            claim = take(board)
            assert not claim.report(10, 1.0)
            claim.finish(1.0, steps=20, seconds=1.0)
        assert take(board).report(10, 5.0)


def test_hyperband_stops_most_trials_early(tmp_path: Path, rhyme: Path) -> None:
    with board_of(write_sweep(tmp_path, rhyme, trials=30, steps=27, pruning="hyperband")) as board:
        pruned = 0
        for number in range(30):
            claim = take(board)
            if any(claim.report(step, float((number * 7) % 30)) for step in (1, 3, 9)):
                claim.prune(steps=9, seconds=1.0)
                pruned += 1
            else:
                claim.finish(1.0, steps=27, seconds=1.0)
        assert pruned >= 5


@pytest.mark.parametrize("half", [b'{"op_code":4,"wor', b"{", b'{"op_code":8}'])
def test_half_a_line_left_by_a_killed_writer_is_cut_off(file: Path, half: bytes) -> None:
    with board_of(file) as board:
        take(board).finish(1.0, steps=1, seconds=1.0)
        journal = Path(board.plan.storage)
        with journal.open("ab") as end:
            end.write(half)
        take(board).finish(2.0, steps=1, seconds=1.0)  # the living go on
    with board_of(file) as board:  # and so does who comes later
        assert [record.value for record in board.records()] == [1.0, 2.0]


@pytest.mark.parametrize(("before", "after"), [(b"", b""), (b"ab\n", b"ab\n"), (b"ab\ncd", b"ab\n"), (b"ab", b"")])
def test_only_what_stands_behind_the_last_line_break_is_cut(before: bytes, after: bytes, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(before)
    cut_half_line(path)
    assert path.read_bytes() == after


def test_a_file_that_is_no_journal_is_refused_in_one_line(
    file: Path, rhyme: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "--config", str(file), "--storage", str(rhyme)]) == 2
    problem = capsys.readouterr().err
    assert "is no journal of a sweep, or is damaged" in problem
    assert problem.count("\n") == 1
