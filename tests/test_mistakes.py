"""Every mistake of a user is one line that names the values and the way out; nothing is harmed by it.

The mistakes are those of benchmarks/accidents/mistakes.txt, all of them, typed in this process; `python
benchmarks/mistakes_test.py` types some in processes of their own too. Here is beside them what is not a line to type.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

import glassgpt
from clone import DOORS
from glassgpt.cli.main import VERBS, _outside_trouble, main
from glassgpt.config import Piece, TrainingConfig
from glassgpt.errors import ConfigError
from glassgpt.settings import resolve
from glassgpt.wording import allowed, counted

with pytest.MonkeyPatch.context() as patched:
    patched.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    program: Any = importlib.import_module("mistakes_test")

CATALOGUE = program.catalogue()
PROGRAMS = sorted({" ".join(mistake.command.split()[:2]) for mistake in CATALOGUE})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mistakes") / "home"
    folder.mkdir()
    program.make_world(folder)
    return folder


@pytest.mark.parametrize("start", PROGRAMS)
def test_a_mistake_is_one_line_that_names_it_and_the_way_out_and_writes_nothing(start: str, world: Path) -> None:
    mistakes = [mistake for mistake in CATALOGUE if " ".join(mistake.command.split()[:2]) == start]
    wrong = []
    for mistake in filter(program.can_be_made_here, mistakes):
        said, faults = program.try_one(mistake, world, program.type_here)
        wrong += [f"$ {mistake.command}\n{said.err}{fault}" for fault in faults]
    assert not wrong, "\n".join(wrong)


def test_the_catalogue_has_hundreds_of_different_mistakes_over_all_verbs_and_doors() -> None:
    commands = [(mistake.command, mistake.conditions) for mistake in CATALOGUE]
    assert len(commands) == len(set(commands)) >= 300
    assert {f"glassgpt {verb}" for verb in VERBS} | {f"python {door}" for door in DOORS} <= set(PROGRAMS)
    assert all(mistake.shown for mistake in CATALOGUE), "each says at least what the line must name"
    assert sum("real" in mistake.conditions for mistake in CATALOGUE) >= 10


@pytest.mark.parametrize(
    ("code", "err", "fault"),
    [
        (2, "glassgpt: bock.txt is missing\n", None),
        (0, "", "exit code 0"),
        (2, "glassgpt: bock.txt is missing\nand more\n", "2 lines"),
        (2, "bock.txt is missing\n", "1 lines"),
        (1, "Traceback (most recent call last): bock.txt", "a traceback"),
        (2, f"glassgpt: bock.txt {'x' * 400}\n", "characters"),
        (2, "glassgpt: a file is missing\n", "'bock.txt' is not named"),
    ],
)
def test_the_check_sees_what_it_is_for(code: int, err: str, fault: str | None) -> None:
    found = program.faults(program.Mistake("glassgpt train bock.txt", ("bock.txt",), ()), program.Said(code, err))
    assert (fault is None and not found) or any(str(fault) in each for each in found)


def test_the_check_sees_what_was_written_changed_or_removed(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("as it was")

    def harmful(_: Any, folder: Path) -> Any:
        (folder / "new").mkdir()
        (folder / "kept.txt").write_text("another text")
        return program.Said(2, "glassgpt: x\n")

    _, faults = program.try_one(program.Mistake("glassgpt x", ("x",), ()), tmp_path, harmful)
    assert [fault.split()[0] for fault in faults] == [str(tmp_path / "kept.txt"), str(tmp_path / "new")]


def test_no_run_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sample"]) == 2
    assert "train one first: glassgpt train" in capsys.readouterr().err


@pytest.mark.parametrize("kept", [0, 7, 500, -1])
def test_a_truncated_checkpoint(kept: int, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((world / "runs" / "book" / "best.safetensors").read_bytes()[:kept])
    for verb in ("sample", "info", "eval"):
        assert main([verb, str(cut)]) == 2
        assert "cut.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Annotated[int, Field(ge=1)], "a whole number, 1 or more"),
        (Annotated[int, Field(ge=0, le=3)] | None, "a whole number from 0 to 3"),
        (Annotated[float, Field(gt=0, le=1)], "a number above 0 and at most 1"),
        (Annotated[float, Field(ge=0, lt=1)], "a number, 0 or more and less than 1"),
        (float, "a number"),
        (bool, "true or false"),
        (tuple[str, ...], "a text, or a list of such"),
    ],
)
def test_what_a_field_takes_is_said_in_words(annotation: Any, words: str) -> None:
    odd: Any = type("Odd", (Piece,), {"__annotations__": {"odd": annotation}})
    assert allowed(odd.model_fields["odd"]) == words


def test_every_bound_in_the_configuration_has_its_words() -> None:
    for name, field in TrainingConfig.model_fields.items():
        assert allowed(field), name


def test_a_truth_is_no_number_and_a_switch_may_be_one(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("n_layers: yes\n")
    with pytest.raises(ConfigError, match=r"n_layers=True: it should be a whole number, 1 or more \(n_layers is set"):
        resolve(file=file)
    file.write_text("compile: off\n")  # which YAML reads as false
    assert resolve(file=file).config.training.compile == "off"


def test_one_thing_is_counted_in_the_singular() -> None:
    assert counted(1, "layer") == "1 layer"
    assert counted(0, "layer") == "0 layers"
    assert counted(1200, "token") == "1,200 tokens"


def test_what_the_machine_refuses_is_one_line_too() -> None:
    assert "--batch-size" in str(_outside_trouble(MemoryError()))
    assert "the disk is full" in str(_outside_trouble(OSError(28, "No space left on device")))
    assert str(_outside_trouble(PermissionError(13, "Permission denied", "x"))).startswith("x: Permission denied")
    assert "pip install -r requirements.txt" in str(_outside_trouble(ModuleNotFoundError("no", name="torch")))


def test_a_bug_of_our_own_stays_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _outside_trouble(KeyError("oops")) is None
    assert _outside_trouble(ModuleNotFoundError("no", name="glassgpt.gone")) is None
    monkeypatch.setattr("glassgpt.cli.doctor.findings", lambda: int("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        main(["doctor"])


def test_ctrl_c_leaves_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("glassgpt.cli.doctor.findings", interrupted)
    assert main(["doctor"]) == 130


@pytest.mark.parametrize("words", [["trian"], ["train", "nowhere.txt"]])
def test_a_real_process_leaves_with_code_2_and_one_line(words: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "glassgpt", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(glassgpt.__path__[0]).parent)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("glassgpt: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
