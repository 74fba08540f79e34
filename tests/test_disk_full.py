"""When there is no room left, a run says so with figures, keeps what it had, and goes on when there is room again."""

from __future__ import annotations

import errno
import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from glassgpt import files
from glassgpt.disk import Disk
from glassgpt.files import append_text, drafts_in, write_atomically, write_text

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
FREE = 1000


class Failing(Disk):
    """Takes so many bytes of every file, and no more."""

    def __init__(self, problem: int, *, after: int = 0) -> None:
        self.problem, self.after = problem, after

    def write(self, file: BinaryIO, chunk: bytes | memoryview) -> None:
        whole = memoryview(chunk).cast("B")
        taken = max(0, min(len(whole), self.after - file.tell()))
        super().write(file, whole[:taken])
        if taken < len(whole):
            raise OSError(self.problem, os.strerror(self.problem))  # without a name, as the system does


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What lay in the folder each time that somebody asked how much is free."""
    seen: list[list[str]] = []

    def usage(path: Path) -> Any:
        seen.append(sorted(entry.name for entry in path.iterdir()))
        return shutil._ntuple_diskusage(FREE, 0, FREE)

    monkeypatch.setattr("glassgpt.files.shutil.disk_usage", usage)
    return seen


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (errno.ENOSPC, "the disk is full: it needs 1,002 bytes, and 1,000 bytes are free"),
        (errno.EDQUOT, "the quota of this user is used up (it needs 1,002 bytes)"),
        (errno.EFBIG, "larger than is allowed here (ulimit -f): it needs 1,002 bytes, and 1,000 are free"),
    ],
)
def test_what_is_needed_and_what_is_free_is_said_when_the_half_written_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: list[list[str]], problem: int, words: str
) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    monkeypatch.setattr(files, "disk", Failing(problem, after=3))
    with pytest.raises(OSError, match=r".") as caught:
        write_atomically(path, [b"ab", b"c" * 1000], size_bytes=1002)
    assert (caught.value.errno, caught.value.filename) == (problem, str(path))
    assert words in str(caught.value)
    assert free == [["file"]], "the draft counts as free"
    assert path.read_bytes() == b"old"


def test_a_line_for_which_there_is_no_room_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: list[list[str]]
) -> None:
    monkeypatch.setattr(files, "disk", Failing(errno.ENOSPC))
    with pytest.raises(OSError, match="the disk is full: it needs more, and 1,000 bytes are free"):
        append_text(tmp_path / "log.csv", "1,2\n")
    assert len(free) == 1


def test_trouble_with_what_is_read_is_not_told_as_trouble_with_what_is_written(
    tmp_path: Path, free: list[list[str]]
) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"some"
        raise OSError(errno.ENOSPC, "elsewhere", "another file")

    with pytest.raises(OSError, match="elsewhere") as caught:
        write_atomically(tmp_path / "file", chunks())
    assert caught.value.filename == "another file"
    assert free == []
    assert drafts_in(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="Windows has no limit of a file's size")
def test_a_training_whose_checkpoint_has_no_room_keeps_the_one_before_and_goes_on_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The commands themselves, in a process of its own with a limit, and in a small file system that is full."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    full_disk: Any = importlib.import_module("accidents.full_disk")
    answer = full_disk.try_both()
    for name in [name for name in sys.modules if name.partition(".")[0] == "accidents"]:
        del sys.modules[name]
    assert answer.pop("a limit for one file", answer) == []
    assert answer.pop("a full disk") in ([], "mounting a small file system is not permitted here")
    assert answer == {}
