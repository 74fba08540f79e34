"""Run folders: who may write where, and the numbers of those that come later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import glassgpt
from conftest import TINY
from glassgpt.cli.main import main
from glassgpt.errors import RunError
from glassgpt.runs import RunFolder, reserved
from glassgpt.settings import resolve
from glassgpt.training.events import Event, Finished, Note
from glassgpt.training.loop import train

HOLD = """
import sys
from pathlib import Path
from glassgpt.runs import RunFolder
with RunFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def old_run(folder: Path) -> bytes:
    folder.mkdir(parents=True)
    RunFolder(folder).config.write_text("old", encoding="utf-8")
    RunFolder(folder).last.write_bytes(b"precious")
    return b"precious"


def begin(rhyme: Path, **choices: Any) -> list[Event]:
    small: dict[str, Any] = TINY | {"max_steps": 2, "data": str(rhyme)} | choices
    return list(train(resolve(flags=small), numbered=True))


def test_a_numbered_run_leaves_the_older_ones_alone_and_says_where_it_went(
    rhyme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("rhyme", "rhyme-2", "rhyme-3"):
        before = {file: file.read_bytes() for file in Path("runs").rglob("*.*") if file.is_file()}
        events = begin(rhyme)
        assert isinstance(events[-1], Finished)
        assert events[-1].folder == Path("runs") / name
        assert f'out: "{Path("runs") / name}"' in (Path("runs") / name / "config.yaml").read_text(encoding="utf-8")
        moved = [event.text for event in events if isinstance(event, Note) and "taken" in event.text]
        assert moved == ([] if name == "rhyme" else [f"runs/rhyme is taken; this run goes to runs/{name}"])
        assert all(file.read_bytes() == content for file, content in before.items())


def test_a_folder_that_another_process_holds_is_taken_too(tmp_path: Path) -> None:
    source = str(Path(glassgpt.__path__[0]).parent)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], env={"PYTHONPATH": source},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with reserved(tmp_path / "run", numbered=True) as folder, reserved(tmp_path / "run", numbered=True) as next_one:
        assert (folder.path, next_one.path) == (tmp_path / "run-2", tmp_path / "run-3")
    with pytest.raises(RunError, match=f"in use by process {holder.pid}"), reserved(tmp_path / "run"):
        pass
    holder.communicate(timeout=60)
    with reserved(tmp_path / "run", numbered=True) as folder:
        assert folder.path == tmp_path / "run"


def test_numbers_pass_over_whatever_lies_in_the_way(tmp_path: Path) -> None:
    old_run(tmp_path / "run")
    (tmp_path / "run-2").write_text("a file", encoding="utf-8")
    (tmp_path / "run-3").mkdir()
    (tmp_path / "run-3" / "letter.txt").write_text("dear", encoding="utf-8")
    with reserved(tmp_path / "run", numbered=True) as folder:
        assert folder.path == tmp_path / "run-4"
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == b"precious"
    assert [path.name for path in (tmp_path / "run-3").iterdir()] == ["letter.txt"]


def test_a_folder_without_a_name_gets_numbers_behind_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_run(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    with reserved(Path(), numbered=True) as folder:
        assert folder.path == tmp_path / "work-2"


def test_a_refused_folder_gets_no_lock(tmp_path: Path) -> None:
    old_run(tmp_path / "run")
    with pytest.raises(RunError, match="holds a run already"), reserved(tmp_path / "run"):
        pass
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.yaml", "last.safetensors"]
    with reserved(tmp_path / "run", overwrite=True) as folder:
        assert not folder.last.exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [(["--resume", "x", "--numbered"], "leave --numbered out"), (["--overwrite", "--numbered"], "choose one")],
)
def test_numbers_go_with_nothing_that_names_an_old_run(
    words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *words]) == 2
    assert problem in capsys.readouterr().err
