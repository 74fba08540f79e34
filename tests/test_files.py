import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from glassgpt.files import cache_root, put_in_place, sha256_of, write_atomically, write_text


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
