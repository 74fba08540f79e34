import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glassgpt.config import DataConfig
from glassgpt.data import prepare as prepare_module
from glassgpt.data import reading, source, tokenfiles
from glassgpt.data.prepare import Prepared, prepare
from glassgpt.data.tokenfiles import write_folder
from glassgpt.errors import DataError, UnknownCharacterError
from glassgpt.text.chars import CharTokenizer
from glassgpt.text.store import save_tokenizer

TEXT = "The quick brown fox.\nÄ日😀 jumps over the lazy dog.\n" * 40


def _book(folder: Path, text: str = TEXT, name: str = "book.txt") -> str:
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return str(path)


def _prepare(tmp_path: Path, text: str = TEXT) -> Prepared:
    return prepare(DataConfig(data=(_book(tmp_path, text),)), cache=tmp_path / "cache")


def _text(prepared: Prepared) -> str:
    return "".join(prepared.tokenizer.decode(ids) for ids in (prepared.train_ids, prepared.val_ids))


def test_the_same_question_is_answered_from_the_cache(tmp_path: Path) -> None:
    first = _prepare(tmp_path)
    marked = (first.folder / "train.bin").stat().st_mtime_ns
    again = prepare(DataConfig(data=first.meta.data), cache=tmp_path / "cache")
    assert again.folder == first.folder
    assert (again.folder / "train.bin").stat().st_mtime_ns == marked


def test_whatever_changes_the_answer_changes_the_question(tmp_path: Path) -> None:
    book, other = _book(tmp_path), _book(tmp_path, TEXT + "more", "other.txt")
    save_tokenizer(CharTokenizer(sorted(set(TEXT + "!"))), tmp_path / "mine.json")
    questions: list[dict[str, Any]] = [
        {"data": (book,)},
        {"data": (other,)},
        {"data": (book, other)},
        {"data": (other, book)},
        {"data": (book,), "val_fraction": 0.2},
        {"data": (book,), "tokenizer": str(tmp_path / "mine.json")},
        {"data": (book,), "tokenizer": str(tmp_path / "mine.json"), "unknown": "skip"},
    ]
    folders = {prepare(DataConfig(**question), cache=tmp_path / "cache").folder for question in questions}
    assert len(folders) == len(questions)


def test_a_text_that_was_edited_is_prepared_anew(tmp_path: Path) -> None:
    _prepare(tmp_path)
    assert _text(_prepare(tmp_path, TEXT + "new!")) == TEXT + "new!"


@pytest.mark.parametrize("victim", ["train.bin", "val.bin", "meta.json", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "garbage"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, victim: str, damage: str) -> None:
    book = _book(tmp_path)
    path = prepare(DataConfig(data=(book,)), cache=tmp_path / "cache").folder / victim
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(whole[:-2] if damage == "cut" else b"\xff" * 11)
    assert _text(prepare(DataConfig(data=(book,)), cache=tmp_path / "cache")) == TEXT
    assert path.read_bytes() == whole


def test_a_failure_leaves_no_folder_behind(tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_bytes(TEXT.encode() * 300 + b"\xff")
    with pytest.raises(DataError, match="not UTF-8"):
        prepare(DataConfig(data=(str(book),)), cache=tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache" / "prepared").iterdir()] == [".lock"]


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    prepared = _prepare(tmp_path)
    shutil.rmtree(prepared.folder)
    leftover = prepared.folder.with_name(f".{prepared.folder.name}.abc")
    leftover.mkdir()
    (leftover / "train.bin").write_bytes(b"half")
    prepare(DataConfig(data=prepared.meta.data), cache=tmp_path / "cache")
    assert not leftover.exists()


def test_a_text_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = _book(tmp_path)

    def write_while_somebody_edits(*arguments: Any) -> None:
        write_folder(*arguments)
        _book(tmp_path, TEXT + "edited")

    monkeypatch.setattr(prepare_module, "write_folder", write_while_somebody_edits)
    with pytest.raises(DataError, match="changed while it was read"):
        prepare(DataConfig(data=(book,)), cache=tmp_path / "cache")


def test_two_at_once_make_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book, made = _book(tmp_path), []
    make = prepare_module._make
    answers: list[Prepared] = []

    def make_and_count(*arguments: Any) -> Path:
        made.append(arguments)
        return make(*arguments)

    monkeypatch.setattr(prepare_module, "_make", make_and_count)

    def ask() -> None:
        answers.append(prepare(DataConfig(data=(book,)), cache=tmp_path / "cache"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert len(made) == 1
    assert {_text(answer) for answer in answers} == {TEXT}


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file, where a folder is needed")
    with pytest.raises(DataError, match="GLASSGPT_CACHE chooses another folder"):
        _prepare(tmp_path)


@pytest.mark.parametrize("vocab_size", [None, 300])
def test_the_number_of_cores_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vocab_size: int | None
) -> None:
    config = DataConfig(data=(_book(tmp_path), _book(tmp_path, TEXT[::-1], "other.txt")))
    monkeypatch.setattr(reading, "BLOCK_BYTES", 100)
    made = {}
    for cores in (1, 3):
        monkeypatch.setattr(tokenfiles, "available_cores", lambda cores=cores: cores)
        folder = prepare(config, vocab_size=vocab_size, cache=tmp_path / f"{cores} cores").folder
        made[cores] = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert made[1] == made[3]


def test_what_is_wrong_on_another_core_is_said_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenfiles, "available_cores", lambda: 3)
    save_tokenizer(CharTokenizer(sorted(set(TEXT) - {"q"})), tmp_path / "mine.json")
    with pytest.raises(UnknownCharacterError, match="character 'q'"):
        prepare(DataConfig(data=(_book(tmp_path),), tokenizer=str(tmp_path / "mine.json")), cache=tmp_path / "cache")


def test_characters_are_prepared_in_two_readings_of_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Path] = []

    def read_and_count(path: Path) -> Iterator[str]:
        begun.append(path)
        return reading.read_text(path)

    monkeypatch.setattr(source, "read_text", read_and_count)
    assert _text(_prepare(tmp_path)) == TEXT
    assert len(begun) == 2
