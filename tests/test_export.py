"""`glassgpt data export`: files that other programs read without us. And the small text that comes with the project."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from glassgpt.cli.main import main
from glassgpt.config import DataConfig
from glassgpt.data.export import export
from glassgpt.data.prepare import prepare
from glassgpt.errors import GlassgptError
from glassgpt.text.store import parse_tokenizer

ROOT = Path(__file__).resolve().parents[1]
TEXT = "The owl flew over the sea. «Näin»!\n" * 40


@pytest.fixture
def book(tmp_path: Path) -> str:
    (tmp_path / "book.txt").write_text(TEXT, encoding="utf-8")
    return str(tmp_path / "book.txt")


def loaded(folder: Path, name: str) -> Any:
    return torch.load(folder / name, weights_only=True)


def test_the_files_are_the_text_cut_nine_to_one_and_need_nothing_of_ours(book: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["data", "export", book, "--out", str(out)]) == 0
    assert (out / "input.txt").read_text(encoding="utf-8") == TEXT
    train, val, vocab = (loaded(out, f"{name}.pt") for name in ("train", "val", "vocab"))
    assert train.dtype == val.dtype == torch.int64
    assert "".join(vocab["itos"][number] for number in torch.cat([train, val]).tolist()) == TEXT
    assert len(train) == int(0.9 * len(TEXT))
    assert vocab["chars"] == sorted(set(TEXT))
    assert vocab["vocab_size"] == len(set(TEXT))
    assert [vocab["stoi"][character] for character in TEXT[:50]] == train[:50].tolist()


def test_bpe_leaves_the_bytes_of_its_tokens(book: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["data", "export", book, "--vocab-size", "280", "--out", str(out)]) == 0
    vocab = loaded(out, "vocab.pt")
    ids = torch.cat([loaded(out, "train.pt"), loaded(out, "val.pt")]).tolist()
    assert b"".join(bytes(vocab["tokens"][number]) for number in ids).decode() == TEXT
    assert vocab["names"][ids[0]] == "<|begin|>"
    assert parse_tokenizer(vocab["tokenizer_json"]).vocab_size == vocab["vocab_size"] == 280


def test_a_second_time_replaces_and_says_so(
    book: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "export", book]) == 0
    first = capsys.readouterr().out
    assert [line.split()[0] for line in first.splitlines()] == [
        str(Path("data") / name) for name in ("input.txt", "train.pt", "val.pt", "vocab.pt")
    ]
    assert "replaced" not in first
    assert main(["data", "export", "tales:9KB"]) == 0
    second = capsys.readouterr().out
    assert second.count("(replaced)") == 4
    assert "the text: tales" in second
    assert "owl" not in (tmp_path / "data" / "input.txt").read_text(encoding="utf-8")[:9]


def test_a_folder_that_is_a_file_is_a_mistake_in_one_line(
    book: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "export", book, "--out", book]) == 2
    assert "--out chooses another folder" in capsys.readouterr().err


def test_without_a_network_the_tales_are_exported_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLASSGPT_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setenv("GLASSGPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("glassgpt.cli.data.EXPORTED", {"data": ["tinyshakespeare"], "fallback": ["tales:20KB"]})
    assert main(["data", "export"]) == 0
    told = capsys.readouterr()
    assert told.err.count("TAKING tales:20KB INSTEAD") == 1
    assert "the text: tales" in told.out


def test_nothing_is_lost_when_the_disk_is_full(book: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(DataConfig(data=(book,)))
    list(export(prepared, tmp_path / "out"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(GlassgptError, match=r"the disk is full: it needs more, and .* bytes are free"):
        list(export(prepared, tmp_path / "out"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_the_small_text_is_what_its_readme_says_byte_for_byte(tmp_path: Path) -> None:
    about = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    command = re.search(r"^    (python -c .*)$", about, re.MULTILINE)
    assert command is not None
    words = shlex.split(command[1])
    (tmp_path / "data").mkdir()
    subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, check=True)
    assert (tmp_path / "data" / "tiny.txt").read_bytes() == (ROOT / "data" / "tiny.txt").read_bytes()


def test_the_small_text_suffices_for_a_thousand_tokens_and_windows_of_128() -> None:
    config = DataConfig(data=(str(ROOT / "data" / "tiny.txt"),))
    prepared = prepare(config, vocab_size=1000, min_tokens=129)
    assert len(prepared.val_ids) > 8 * 129
