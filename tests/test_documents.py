"""What the documents tell people to type works: every ```sh block of README and docs, every ```python block.

In order, from the root of a clean copy, offline, shortened by GLASSGPT_MAX_STEPS alone; see `clone.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from clone import ROOT, Clone, lend_environment, make_clone

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "data" / "README.md"]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(document.read_text(encoding="utf-8"))


def commands(block: str) -> Iterator[str]:
    """One command a line; a backslash continues it, and a comment stands behind ` # `."""
    for line in block.replace("\\\n", " ").splitlines():
        command = re.split(r"(?:^|\s)#\s", line)[0].strip()
        if command:
            yield command


def bring_texts(clone: Clone) -> None:
    """What the documents suppose that people have: a book, poems, notes."""
    text = (clone / "data/tiny.txt").read_text(encoding="utf-8")
    for place, part in [("book.txt", text), ("poems/spring.txt", text[:40_000]), ("notes/monday.md", text[-40_000:])]:
        (clone / place).parent.mkdir(exist_ok=True)
        (clone / place).write_text(part, encoding="utf-8")


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if blocks(path)], ids=lambda path: path.stem)
def test_what_a_document_tells_people_to_type_works(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = make_clone(tmp_path / "glassgpt", steps=1)
    monkeypatch.chdir(clone.folder)
    for name, value in clone.environment.items():
        monkeypatch.setenv(name, value)
    bring_texts(clone)
    names: dict[str, object] = {}
    for language, block in blocks(document):
        if language == "python":
            exec(compile(block, str(document), "exec"), names)
            continue
        for command in commands(block):
            if command.startswith("make") and not (clone / ".venv").exists():
                lend_environment(clone)
            clone.type(command)


EDITIONS = ROOT / "docs" / "editions.md"


def test_every_row_of_the_editions_names_a_test_that_exists() -> None:
    rows = [line for line in EDITIONS.read_text(encoding="utf-8").splitlines() if line.count("|") >= 5]
    features = [line for line in rows[rows.index("|---|---|---|---|") + 1 :] if "**" not in line]
    assert len(features) > 40
    for row in features:
        file, _, name = re.findall(r"`(test_\w+\.py)(::)?(\w+)?` \|$", row)[0]
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert f"\ndef {name}(" in text if name else "\ndef test_" in text, row
