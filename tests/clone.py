"""A clean copy of the project in a temporary folder, and a newcomer who types commands there.

Offline: downloads find no server unless a test brings one. GLASSGPT_MAX_STEPS shortens what would take hours.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOWHERE = "http://127.0.0.1:9"  # the discard port: refused at once, as a machine without a network refuses
TIMEOUT_S = 240.0


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

    def type(self, command: str, *, stdin: str = "", code: int = 0) -> Typed:
        """Run a line as a shell would, in the project's root."""
        done = subprocess.run(
            command, shell=True, cwd=self.folder, input=stdin, capture_output=True, text=True, encoding="utf-8",
            timeout=TIMEOUT_S, env=os.environ | self.environment, check=False,
        )  # fmt: skip
        typed = Typed(command, done.returncode, done.stdout, done.stderr)
        assert typed.code == code, str(typed)
        assert "Traceback" not in typed.err, str(typed)
        return typed

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


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
