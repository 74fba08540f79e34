"""What the documents tell people to type works: every ```sh block of README and docs, every ```python block.

In order, from the root of a clean copy, offline, shortened by GLASSGPT_MAX_STEPS alone. A plain `glassgpt ...` or
`python door.py ...` runs in this process, for torch takes seconds to load; whatever needs a shell gets one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from clone import ROOT, Clone, lend_environment, make_clone
from glassgpt.cli import doors
from glassgpt.cli.main import main

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "data" / "README.md"]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOORS = {"train", "sample", "data", "tok", "benchmark", "plot", "sweep", "bigram"}
NEEDS_A_SHELL = set("|<>&;$`*")


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


def run_here(words: list[str]) -> int | None:
    """The exit code of a command of ours, run in this process; None when it is another program's."""
    if words[0] == "glassgpt":
        return main(words[1:])
    if words[:2] == ["python", "-m"] and words[2] in {"glassgpt", "tok"}:
        return main(words[3:]) if words[2] == "glassgpt" else doors.tok(words[3:])
    if words[0] == "python" and words[1].removesuffix(".py") in DOORS - {"bigram"}:
        return int(getattr(doors, words[1].removesuffix(".py"))(words[2:]))
    if words[:2] == ["python", "bigram.py"]:
        return doors.bigram(words[2:], {})
    return None


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if blocks(path)], ids=lambda path: path.stem)
def test_what_a_document_tells_people_to_type_works(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
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
            _run(command, clone, capfd)


def _run(command: str, clone: Clone, capfd: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)
    code = None if NEEDS_A_SHELL & set(command) else run_here(words)
    if code is not None:
        said = capfd.readouterr()
        assert code == 0, f"$ {command}\n{said.out}\n{said.err}"
        return
    if words[0] == "make" and not (clone / ".venv").exists():
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
