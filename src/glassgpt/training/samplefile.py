"""samples.txt: each sample under a heading with the step that wrote it.

Written by a run while it learns, read back by whoever shows how it learned. What is written there, and when, is told
in `samples.py`.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from glassgpt.files import append_text, sync_file, write_text

HEADING = re.compile(r"^=== step (\d{1,18}) ===$", re.MULTILINE | re.ASCII)


class SampleFile:
    def __init__(self, path: Path, *, up_to_step: int) -> None:
        """Later samples were written by a run that did not live to save; they will be written again."""
        self._path = path
        written = path.read_bytes() if path.is_file() else b""
        written, _, _ = written.partition(b"\0")  # what a power loss makes of bytes that were not synced
        whole_lines = written[: written.rfind(b"\n") + 1]  # a heading or a character may be half there
        before = whole_lines.decode("utf-8", "replace")
        later = (match.start() for match in HEADING.finditer(before) if int(match[1]) > up_to_step)
        write_text(path, before[: next(later, len(before))])

    def write(self, step: int, text: str) -> None:
        append_text(self._path, f"=== step {step} ===\n{text}\n\n")

    def sync(self) -> None:
        sync_file(self._path)


def samples_in(content: str) -> list[tuple[int, str]]:
    r"""`samples_in("=== step 10 ===\nOnce\n\n") == [(10, "Once")]`, in the order of the file.

    A model that writes such a line itself, because its text has them, is taken at its word: nothing tells them apart.
    """
    headings = list(HEADING.finditer(content))
    ends = [*(match.start() for match in headings), len(content)]
    texts = [content[match.end() : end] for match, (_, end) in zip(headings, pairwise(ends), strict=True)]
    return [(int(match[1]), text[1:].removesuffix("\n\n")) for match, text in zip(headings, texts, strict=True)]
