"""What the documents point at is there: files, headings, functions, and the settings that tables name.

A link such as [`attend`](../src/glassgpt/model/attention.py) says that the file has that function, class or constant;
a name in backquotes that ends like a file of ours is one.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
NAME = re.compile(r"`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?)`")
FILE = re.compile(r"`((?:[\w.-]+/)*\w[\w-]*\.(?:py|md))`")
TEST = re.compile(r"`(test_\w+\.py)(?:::(test_\w+))?`")
LARGEST_PICTURE = 70_000  # bytes: a page with ten of them still opens at once


def prose(document: Path) -> str:
    """The text without its blocks of code: what stands there is run by another test."""
    return CODE.sub("", document.read_text(encoding="utf-8"))


def links(document: Path) -> Iterator[tuple[str, Path, str]]:
    """Label, file and #heading of every link that leads into this project."""
    for _, label, target in LINK.findall(prose(document)):
        if not re.match(r"[a-z]+:", target):
            place, _, heading = target.partition("#")
            yield label, (document.parent / place).resolve() if place else document, heading


@cache
def names_in(file: Path) -> frozenset[str]:
    """Functions, classes, methods and constants: `attend`, `Attention.share`, `BLOCK`."""
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        found |= _names(node)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for inner in node.body for name in _names(inner)}
    return frozenset(found)


def _names(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.AnnAssign):
        return {node.target.id} if isinstance(node.target, ast.Name) else set()
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}


@cache
def headings(document: Path) -> frozenset[str]:
    """As GitHub makes anchors of them: in small letters, blanks as hyphens, other marks left out."""
    lines = re.findall(r"^#+ (.*)$", CODE.sub("", document.read_text(encoding="utf-8")), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line) for line in lines)
    return frozenset(re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in plain)


@cache
def files_of_ours() -> frozenset[str]:
    """Every Python file and document, under its path from the root, and from the package, and under its name alone."""
    found: set[str] = set()
    for folder in ("", "src", "tests", "docs", "benchmarks", "data"):
        for path in (ROOT / folder).glob("*" if not folder else "**/*"):
            if path.suffix in {".py", ".md"}:
                inside = path.relative_to(ROOT)
                found |= {inside.as_posix(), inside.as_posix().removeprefix("src/glassgpt/"), inside.name}
    return frozenset(found)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_document_points_at_is_there(document: Path) -> None:
    for label, file, heading in links(document):
        assert file.exists(), f"[{label}] leads to {file}, which is not there"
        if heading:
            assert heading in headings(file), f"[{label}]: {file.name} has no heading #{heading}"
        named = NAME.fullmatch(label)
        if named and file.suffix == ".py" and not FILE.fullmatch(label):
            assert named[1] in names_in(file), f"{file.name} has no {named[1]}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_that_a_document_names_is_one_of_ours(document: Path) -> None:
    text = prose(document)
    missing = sorted(set(FILE.findall(text)) - files_of_ours())
    assert not missing, f"{document.name} names what is not there: {missing}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_test_that_a_document_names_is_there(document: Path) -> None:
    for file, name in TEST.findall(prose(document)):
        assert (ROOT / "tests" / file).is_file(), f"{document.name} names {file}"
        assert not name or name in names_in(ROOT / "tests" / file), f"{document.name}: {file} has no {name}"


@pytest.mark.slow
def test_the_figures_are_drawn_by_our_own_code(tmp_path: Path) -> None:
    made = {"rope", "bends", "schedules", "muon", "contexts", "attention", "sampling"}
    subprocess.run(
        [sys.executable, str(ROOT / "docs" / "figures.py"), "--out", str(tmp_path)],
        check=True,
        env=os.environ | {"GLASSGPT_MAX_STEPS": "3", "GLASSGPT_CACHE": str(tmp_path / "cache")},
    )
    drawn = {picture.stem for picture in tmp_path.glob("*.png")}
    assert drawn == made
    assert drawn <= {picture.stem for picture in (ROOT / "docs" / "images").iterdir()}


def test_pictures_are_small_and_shown() -> None:
    shown = {file for document in DOCUMENTS for _, file, _ in links(document)}
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.stat().st_size <= LARGEST_PICTURE, f"{picture.name} is too large for a page"
        assert picture in shown, f"no document shows {picture.name}"


def test_a_name_that_is_not_there_is_found_out() -> None:
    attention = ROOT / "src/glassgpt/model/attention.py"
    assert {"attend", "Attention.share", "Attention", "BLOCK"} <= names_in(attention)
    assert "attended" not in names_in(attention)
    assert {"7-attention", "8-position-as-rotation"} <= headings(ROOT / "docs/theory.md")
