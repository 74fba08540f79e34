import codecs
import gzip
from pathlib import Path

import pytest

from glassgpt.data import reading
from glassgpt.data.reading import read_text
from glassgpt.errors import DataError


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _problem(path: Path) -> str:
    """The one line that a user sees."""
    with pytest.raises(DataError) as caught:
        list(read_text(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7])
def test_a_character_across_two_blocks_is_read_whole(
    tmp_path: Path, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", block_bytes)
    path = _write(tmp_path / "a.txt", "\ufeffé日😀\r\n\r\rx\r".encode())
    pieces = list(read_text(path))
    assert "".join(pieces) == "é日😀\n\n\nx\n"
    assert all(pieces)


def test_a_book_is_the_same_book_wherever_it_was_saved(tmp_path: Path) -> None:
    book = "\n".join(f"line {number} ä" for number in range(50_000))
    saved = {
        "unix": book.encode(),
        "windows": codecs.BOM_UTF8 + book.replace("\n", "\r\n").encode(),
        "old mac": book.replace("\n", "\r").encode(),
    }
    for name, content in saved.items():
        assert "".join(read_text(_write(tmp_path / name, content))) == book


def test_text_is_read_in_pieces(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.txt", b"abcdefg\n" * 300_000)
    assert max(len(piece) for piece in read_text(path)) <= reading.BLOCK_BYTES


@pytest.mark.parametrize("start", [0, 10, reading.BLOCK_BYTES - 1, reading.BLOCK_BYTES, 700_001])
def test_bytes_that_are_no_utf8_are_told_with_file_and_offset(tmp_path: Path, start: int) -> None:
    path = _write(tmp_path / "latin.txt", b"x" * start + b"\xe9t\xe9" + b"x" * 1000)
    message = _problem(path)
    assert f'"{path}" is not UTF-8: byte 0xe9 at offset {start:,}' in message


def test_a_file_that_ends_within_a_character_is_told_with_its_offset(tmp_path: Path) -> None:
    path = _write(tmp_path / "cut.txt", b"\xef\xbb\xbf" + b"x" * reading.BLOCK_BYTES + "😀".encode()[:3])
    assert f"byte 0xf0 at offset {reading.BLOCK_BYTES + 3:,}" in _problem(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"text", mtime=0), "compressed with gzip; unpack it with gunzip"),
        ("text".encode("utf-16"), "UTF-16; save it as UTF-8"),
        (codecs.BOM_UTF16_BE + "text".encode("utf-16-be"), "UTF-16; save it as UTF-8"),
        ("text".encode("utf-16-le"), "a zero byte at offset 1"),
        (b"%PDF-1.7 ...", "a PDF"),
        (b"PK\x03\x04...", "a zip archive"),
    ],
)
def test_other_formats_are_recognised(tmp_path: Path, content: bytes, message: str) -> None:
    assert message in _problem(_write(tmp_path / "strange.txt", content))
