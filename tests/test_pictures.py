"""The pictures of the page that documents show: all there, small, and taken by a program."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import glassgpt
from browser import DESK, PHONE, what_is_missing
from conftest import TINY

ROOT = Path(__file__).parents[1]
LARGEST_BYTES = 200_000

with pytest.MonkeyPatch.context() as patched:
    patched.syspath_prepend(str(ROOT / "docs"))
    pictures: Any = importlib.import_module("pictures")


def expected(names: list[str]) -> dict[str, tuple[int, int]]:
    """Each file, and how large it is drawn."""
    sizes = {form: PHONE if how.get("phone") else DESK for form, how in pictures.FORMS.items()}
    return {f"{name}-{form}.png": (size["width"], size["height"]) for name in names for form, size in sizes.items()}


def drawn(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for file in folder.iterdir():
        assert file.stat().st_size <= LARGEST_BYTES, f"{file.name} is too large for a page"
        with Image.open(file) as picture:
            found[file.name] = picture.size
    return found


def test_every_view_has_its_pictures_and_they_are_small() -> None:
    assert drawn(pictures.OUT) == expected(list(pictures.PICTURES)), "take them anew: make pictures"


@pytest.mark.slow
@pytest.mark.skipif(what_is_missing() is not None, reason=what_is_missing() or "")
def test_the_program_takes_them_from_a_server_of_its_own(tmp_path: Path) -> None:
    for name in (pictures.SHOWN, pictures.BESIDE):
        glassgpt.train("tales", out=str(tmp_path / "runs" / name), max_steps=2, **TINY)
    program = [sys.executable, str(ROOT / "docs" / "pictures.py"), "--runs", str(tmp_path / "runs")]
    told = [*program, "--only", "inside", "--out", str(tmp_path / "taken")]
    subprocess.run(told, check=True, env=os.environ | {"GLASSGPT_CACHE": str(tmp_path / "cache")}, timeout=120)
    assert drawn(tmp_path / "taken") == expected(["inside"])
