import errno
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from glassgpt import files
from glassgpt.disk import Disk
from glassgpt.files import (
    append_text,
    cache_root,
    drafts_in,
    make_folders,
    put_in_place,
    remove,
    scratch_folder,
    sha256_of,
    sync_file,
    write_atomically,
    write_text,
)


def test_chunks_of_any_kind_arrive_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "file.bin"
    write_atomically(path, [b"one\r\n", memoryview(b"two"), b"", memoryview(bytes(range(256)))])
    assert path.read_bytes() == b"one\r\ntwo" + bytes(range(256))


def test_text_is_utf8_with_its_line_ends_untouched(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "ä\n\r\n😀")
    assert (tmp_path / "a").read_bytes() == "ä\n\r\n😀".encode()


@pytest.mark.parametrize("problem", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_failure_in_the_middle_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, problem: type[BaseException]
) -> None:
    path = tmp_path / "precious"
    write_atomically(path, [b"old"])

    def chunks() -> Iterator[bytes]:
        yield b"new" * 100_000
        raise problem

    with pytest.raises(problem):
        write_atomically(path, chunks())
    assert [file.name for file in tmp_path.iterdir()] == ["precious"]
    assert path.read_bytes() == b"old"


def test_a_crash_just_before_the_rename_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "precious"
    write_atomically(path, [b"old"])

    def crash(self: Path, _target: Path) -> None:
        assert self.read_bytes() == b"new"  # the draft is complete when its time comes
        raise OSError("crash")

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(OSError, match="crash"):
        write_atomically(path, [b"new"])
    assert path.read_bytes() == b"old"


def test_content_is_synced_before_its_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(handle: int) -> None:
        happened.append("sync")
        real_sync(handle)

    def rename(self: Path, target: Path) -> Path:
        happened.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", rename)
    write_atomically(tmp_path / "file", [b"content"])
    assert happened[:2] == ["sync", "rename"]
    assert happened[2:] == ([] if os.name == "nt" else ["sync"])


def test_a_reader_sees_one_whole_version_while_another_is_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    versions = [bytes([digit]) * 50_000 for digit in b"ab"]
    write_atomically(path, [versions[0]])

    def write_many() -> None:
        for turn in range(40):
            write_atomically(path, [versions[turn % 2]])

    writer = threading.Thread(target=write_many)
    writer.start()
    seen = set()
    while writer.is_alive():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= set(versions)


def test_writers_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [[bytes([number]) * 1000] * 20 for number in range(8)]
    writers = [threading.Thread(target=write_atomically, args=(path, content)) for content in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_bytes() in [b"".join(content) for content in contents]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_whole_folder_gets_its_name(tmp_path: Path) -> None:
    (tmp_path / "draft").mkdir()
    (tmp_path / "draft" / "file").write_bytes(b"x")
    put_in_place(tmp_path / "draft", tmp_path / "final")
    assert (tmp_path / "final" / "file").read_bytes() == b"x"
    assert not (tmp_path / "draft").exists()


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, (1 << 20) + 1])
def test_the_checksum_is_the_one_of_the_whole_file(tmp_path: Path, size: int) -> None:
    content = (b"0123456789" * (size // 10 + 1))[:size]
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSGPT_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("GLASSGPT_CACHE")
    assert "glassgpt" in cache_root().parts


class Stingy:
    """A file that takes some bytes at a time, as one on a disk that has just become full."""

    def __init__(self, *portions: int) -> None:
        self.portions, self.taken = list(portions), b""

    def write(self, rest: memoryview) -> int:
        portion = self.portions.pop(0)
        self.taken += bytes(rest[:portion])
        return min(portion, len(rest))


def test_what_the_system_did_not_take_is_offered_again() -> None:
    file = Stingy(2, 1, 100)
    Disk().write(file, memoryview(b"abcdefgh").cast("H"))  # type: ignore[arg-type]
    assert file.taken == b"abcdefgh"


def test_a_file_that_takes_nothing_is_a_full_disk_and_no_endless_loop() -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        Disk().write(Stingy(2, 0), b"abcd")  # type: ignore[arg-type]


class Broken(Disk):
    """Whatever is done fails as the system fails: without a name, or with one that nobody knows."""

    def write(self, file: BinaryIO, chunk: bytes | memoryview) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def sync(self, file: BinaryIO) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def sync_folder(self, folder: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def rename(self, old: Path, new: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(old))


@pytest.mark.parametrize(
    ("work", "named"),
    [
        (lambda path: write_text(path, "new"), "file"),
        (lambda path: write_atomically(path, []), "file"),
        (lambda path: append_text(path, "more"), "file"),
        (sync_file, "file"),
        (lambda path: put_in_place(path.with_name(".file.1-00000000.tmp"), path), "file"),
        (lambda path: make_folders(path.parent / "new"), "new"),
        (remove, ""),
    ],
)
def test_an_error_names_the_file_that_a_person_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[Path], None], named: str
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(files, "disk", Broken())
    with pytest.raises(OSError, match="Input/output error") as caught:
        work(path)
    assert Path(caught.value.filename) == tmp_path / named


def test_what_bore_the_name_before_can_be_kept(tmp_path: Path) -> None:
    path, keep = tmp_path / "last", tmp_path / "previous"
    for version in (b"1", b"2", b"3"):
        write_atomically(path, [version], keep=keep)
    assert (path.read_bytes(), keep.read_bytes()) == (b"3", b"2")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_draft_of_a_killed_writer_goes_when_it_is_old_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    drafts = {number: tmp_path / f".file.{number}-00000000.tmp" for number in (child.pid, os.getpid())}
    other, young = tmp_path / f".other.{child.pid}-00000000.tmp", tmp_path / f".file.{child.pid}-00000001.tmp"
    for draft in (*drafts.values(), other, young):
        draft.write_text("half")
        os.utime(draft, (time.time(), time.time() - (0 if draft == young else 2 * files.ABANDONED_S)))
    write_text(tmp_path / "file", "whole")
    gone = set() if os.name == "nt" else {drafts[child.pid]}
    assert set(drafts_in(tmp_path)) == {*drafts.values(), other, young} - gone


def test_no_process_is_asked_on_windows_where_that_would_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "WINDOWS", True)
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("os.kill was called"))
    draft = tmp_path / ".file.1-00000000.tmp"
    draft.write_text("half")
    os.utime(draft, (0, 0))
    write_text(tmp_path / "file", "whole")
    assert draft.exists()


def test_a_file_that_somebody_reads_is_replaced_a_moment_later_on_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, held = Path.replace, [True, True]

    def replace(self: Path, target: Path) -> Path:
        if held:
            held.pop()
            raise PermissionError(errno.EACCES, "in use", str(self))
        return real(self, target)

    pauses: list[float] = []
    monkeypatch.setattr("glassgpt.disk.WINDOWS", True)
    monkeypatch.setattr("glassgpt.disk.time.sleep", pauses.append)
    monkeypatch.setattr(Path, "replace", replace)
    write_text(tmp_path / "file", "whole")
    assert (tmp_path / "file").read_text() == "whole"
    assert pauses == sorted(pauses)
    assert len(pauses) == 2


def test_a_folder_is_made_aside_and_gone_when_it_was_not_put_in_place(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "folder") as scratch:
        (scratch / "file").write_text("half")
    assert list(tmp_path.iterdir()) == []
    with scratch_folder(tmp_path / "folder") as scratch:
        put_in_place(scratch, tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_files_and_folders_are_removed_with_what_is_in_them_and_may_be_gone_already(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    link = tmp_path / "link"
    if os.name != "nt":
        link.symlink_to(tmp_path / "outside")
    remove(tmp_path / "folder", link, tmp_path / "never" / "was")
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    shutil.rmtree(tmp_path / "outside")
