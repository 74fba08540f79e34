"""What `glassgpt eval` leaves in a run's folder, and what it shows of the steps that were kept."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import glassgpt
from conftest import BOOK, TINY, refusal
from glassgpt.cli.main import main
from glassgpt.lab.evaluations import Evaluation, Marked, Rival, evaluations_of, remember
from glassgpt.lab.exam import Marks
from glassgpt.lab.scores import EXAM
from glassgpt.runs import RunFolder

SHOWN = Callable[..., tuple[str, str]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text, a run on it, and a run on tales; both kept some steps."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "book.txt").write_text(BOOK, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GLASSGPT_CACHE", str(folder / "cache"))
        small: dict[str, Any] = TINY | {"max_steps": 8, "eval_every": 4, "save_every": 8, "keep_every": 3}
        glassgpt.train("book.txt", **small)
        glassgpt.train("tales:60KB", out="runs/tales", **small, eval_batches=1)
    return folder


@pytest.fixture
def shown(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> SHOWN:
    """Types `glassgpt eval ...` in a copy of the folder; what it prints, and what it says aside."""
    shutil.copytree(trained, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.setattr("glassgpt.lab.scores.EXAM", EXAM.but(max_new_tokens=40))
    monkeypatch.setenv("GLASSGPT_CACHE", str(trained / "cache"))  # the text is of the same size and time

    def shown(*words: str) -> tuple[str, str]:
        assert main(["eval", *words]) == 0
        told = capsys.readouterr()
        return told.out, told.err

    return shown


def left(run: str) -> list[dict[str, Any]]:
    content: dict[str, Any] = json.loads(RunFolder(Path("runs") / run).evaluations.read_text(encoding="utf-8"))
    assert list(content) == ["evaluations"]
    return list(content["evaluations"])


def test_an_evaluation_leaves_what_it_found(shown: SHOWN) -> None:
    table, _ = shown("runs/book")
    (one,) = left("book")
    assert list(one) == ["step", "loss", "nats_per_character", "floor", "rivals", "marks", "file"]
    assert (one["file"], one["floor"], one["marks"]) == ("best.safetensors", None, None)
    assert f"{one['loss']:.4f} nats per token" in table
    for who in [{"name": f"this model (step {one['step']})", **one}, *one["rivals"]]:
        (row,) = (row for row in table.splitlines() if row.startswith(who["name"] + " "))
        assert f"{who['nats_per_character']:.4f}" == row[len(who["name"]) :].split()[0]
    assert [rival["name"] for rival in one["rivals"]] == ["order-5 n-grams", "xz, after the training text", "xz, alone"]


def test_kept_steps_are_measured_oldest_first_each_in_a_line_and_an_entry(shown: SHOWN) -> None:
    table, _ = shown("runs/tales", "--kept", "--stories", "2")
    entries = left("tales")
    steps = [entry["step"] for entry in entries]
    assert steps == sorted({3, 6, 8} | set(steps))
    head, *rows = table.splitlines()
    assert head.split() == ["step", "nats/character", "spelled", "parsed", "heroes", "sums", "places", "whole", "novel"]
    for entry, row in zip(entries, rows, strict=False):
        assert row.split()[:2] == [str(entry["step"]), f"{entry['nats_per_character']:.4f}"]
        assert entry["marks"]["stories"] == 2
        assert entry["floor"] < entry["nats_per_character"]
    assert "the floor" in table
    assert {entry["file"] for entry in entries} >= {"best.safetensors", "step-3.safetensors"}
    alone, _ = shown("runs/tales@3", "--stories", "2")
    assert left("tales") == entries  # the same step, measured again
    assert f"{entries[0]['loss']:.4f} nats per token" in alone


def test_without_kept_steps_that_is_said(shown: SHOWN, capsys: pytest.CaptureFixture[str]) -> None:
    for path in RunFolder(Path("runs/book")).kept().values():
        path.unlink()
    assert main(["eval", "runs/book", "--kept"]) == 2
    assert "keeps no steps" in capsys.readouterr().err


def test_a_later_evaluation_of_a_step_takes_the_place_of_the_earlier(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    for step, loss in [(20, 1.5), (5, 2.5), (20, 1.25)]:
        assert remember(folder, [evaluation(step, loss)]) is None
    assert [(one.step, one.loss) for one in evaluations_of(folder)] == [(5, 2.5), (20, 1.25)]


def evaluation(step: int = 1, loss: float = 1.0) -> Evaluation:
    marks = Marked(stories=1, spelled=0.5, parsed=0, heroes=None, sums=None, places=1, whole=0, novel=None)
    rivals = [Rival(name="xz, alone", nats_per_character=2.0)]
    return Evaluation(step=step, loss=loss, nats_per_character=loss, floor=0.1, rivals=rivals, marks=marks, file="x")


def test_what_was_measured_elsewhere_is_not_kept(shown: SHOWN, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("other.txt").write_text("The sea was calm, said the owl.\n" * 20, encoding="utf-8")
    shown("runs/book", "--data", "other.txt")
    Path("copy").mkdir()
    shutil.copy("runs/book/best.safetensors", "copy/mine.safetensors")
    shown("copy/mine.safetensors")
    monkeypatch.setenv("GLASSGPT_MAX_STEPS", "1")
    shown("runs/book")
    monkeypatch.delenv("GLASSGPT_MAX_STEPS")
    Path("book.txt").write_text(BOOK.replace("calm", "clam"), encoding="utf-8")
    _, said = shown("runs/book")
    assert "the text has changed since the run" in said
    assert not list(Path().rglob("eval.json"))


def test_of_a_run_that_is_going_on_it_is_said_that_nothing_was_kept(shown: SHOWN) -> None:
    folder = RunFolder(Path("runs/book"))
    with folder.lock():
        table, said = shown("runs/book")
    assert "nats/character" in table
    assert "not kept in runs/book/eval.json: runs/book is in use by process" in said
    folder.evaluations.mkdir()  # as little to be written to as a folder that belongs to somebody else
    table, said = shown("runs/book")
    assert "nats/character" in table
    assert said.count("\n") == 1
    assert "not kept in runs/book/eval.json" in said


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"evaluations": 1}', '{"evaluations": [{}]}', '{"evaluations": [], "evaluations": []}',
     '{"evaluations": [], "more": 1}', "\0", "[" * 100_000, '{"evaluations": [NaN]}'],
)  # fmt: skip
def test_a_record_that_is_damaged_or_foreign_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    folder = RunFolder(tmp_path)
    folder.evaluations.write_text(content, encoding="utf-8")
    assert "eval.json" in refusal(lambda: evaluations_of(folder))
    note = remember(folder, [evaluation()])
    assert note is not None
    assert "\n" not in note
    assert folder.evaluations.read_text(encoding="utf-8") == content


def test_no_figure_without_an_end_is_taken(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    remember(folder, [evaluation()])
    content = folder.evaluations.read_text(encoding="utf-8")
    folder.evaluations.write_text(content.replace('"loss": 1.0', '"loss": 1e999'), encoding="utf-8")
    assert "loss" in refusal(lambda: evaluations_of(folder))


def test_marks_are_those_of_the_exam() -> None:
    assert list(Marked.model_fields) == [field.name for field in dataclasses.fields(Marks)]
