"""A clean copy of the project in a temporary folder, and a newcomer who types commands there.

Offline: downloads find no server unless a test brings one. GLASSGPT_MAX_STEPS shortens what would take hours.
A plain `glassgpt ...` or `python door.py ...` runs in this process, for torch takes seconds to load; whatever needs
a shell or a process of its own gets one.
"""

from __future__ import annotations

import io
import os
import runpy
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from glassgpt.cli.main import main

ROOT = Path(__file__).parents[1]
NOWHERE = "http://127.0.0.1:9"  # the discard port: refused at once, as a machine without a network refuses
TIMEOUT_S = 240.0
DOORS = {"train.py", "sample.py", "data.py", "tok.py", "benchmark.py", "plot.py", "sweep.py", "bigram.py"}
NEEDS_A_SHELL = set("|<>&;$`*")


@dataclass(frozen=True)
class Typed:
    """What a command said and how it ended."""

    command: str
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"$ {self.command}\n{self.out}\n{self.err}\n[{self.code}]"


@dataclass
class Clone:
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def type(self, command: str, *, stdin: str = "", code: int = 0, own_process: bool = False) -> Typed:
        """Run a line as a shell would, in the project's root."""
        plain = not own_process and not stdin and not NEEDS_A_SHELL & set(command)
        typed = (self._here(command) if plain else None) or self._in_a_shell(command, stdin)
        assert typed.code == code, str(typed)
        assert "Traceback" not in typed.err, str(typed)
        return typed

    def _here(self, command: str) -> Typed | None:
        """What a command of ours says in this process; None when it is another program's."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            match shlex.split(command):
                case ["glassgpt", *rest] | ["python", "-m", "glassgpt", *rest]:
                    code = main(rest)
                case ["python", "-m", "tok", *rest]:
                    code = _open("tok.py", rest, patch)
                case ["python", door, *rest] if door in DOORS:
                    code = _open(door, rest, patch)
                case _:
                    return None
        return Typed(command, code, out.getvalue(), err.getvalue())

    def _in_a_shell(self, command: str, stdin: str) -> Typed:
        done = subprocess.run(
            command, shell=True, cwd=self.folder, input=stdin, capture_output=True, text=True, encoding="utf-8",
            timeout=TIMEOUT_S, env=os.environ | self.environment, check=False,
        )  # fmt: skip
        return Typed(command, done.returncode, done.stdout, done.stderr)

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


def _open(door: str, words: list[str], patch: pytest.MonkeyPatch) -> int:
    """What `python door.py words` does, and its exit code."""
    patch.setattr(sys, "argv", [door, *words])
    patch.setattr(sys, "path", [*sys.path])  # a door adds its own folder
    try:
        runpy.run_path(door, run_name="__main__")
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def make_clone(folder: Path, *, steps: int = 3, mirror: str = NOWHERE) -> Clone:
    for name in _project_files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    return Clone(folder, {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(folder / "src"),
        "GLASSGPT_CACHE": str(folder / "cache"),
        "GLASSGPT_MIRROR": mirror,
        "GLASSGPT_MAX_STEPS": str(steps),
        "HF_ENDPOINT": NOWHERE,
        "HF_HOME": str(folder / "cache" / "huggingface"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
    })  # fmt: skip


def _project_files() -> list[str]:
    """Everything that a clone would bring, what is new and not yet committed included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def lend_environment(clone: Clone) -> None:
    """What `make install` would make, without a network: a .venv of links to the packages that are here."""
    venv, here = clone / ".venv", Path(sys.prefix)
    venv.mkdir()
    for name in ("bin", "lib", "include"):
        if (here / name).exists():
            (venv / name).symlink_to(here / name)
    if (here / "pyvenv.cfg").is_file():
        shutil.copy(here / "pyvenv.cfg", venv)
    if (ROOT / ".mypy_cache").is_dir():  # reading all of torch's types once is enough
        shutil.copytree(ROOT / ".mypy_cache", clone / ".mypy_cache")
    for stamp in ("made", "installed", "installed-dev"):
        (venv / stamp).touch()
