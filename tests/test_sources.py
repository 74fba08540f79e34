import gzip
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassgpt.data import tales
from glassgpt.data.reading import DOCUMENT_END, read_documents
from glassgpt.data.source import HELD_OUT_TALE, TALES_SEED, Source
from glassgpt.data.sources import find_source, list_named
from glassgpt.errors import DataError


def _write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def _text(source: Source) -> str:
    return "".join(source.chunks())


def _problem(spec: Path | str) -> str:
    """The one line that a user sees."""
    with pytest.raises(DataError) as caught:
        _text(find_source((str(spec),)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1), st.floats(0.01, 0.99))
def test_the_parts_are_the_text_cut_at_one_character(text: str, val_fraction: float) -> None:
    class Kept(Source):
        def _files(self, paths):  # type: ignore[no-untyped-def]
            return iter([text[:3], text[3:]] if len(text) > 3 else [text]) if paths else iter(())

    source = Kept("text", (Path("a text"),), 0, val_fraction)
    train, val = "".join(source.train_chunks()), "".join(source.val_chunks())
    assert train + val == text
    assert len(train) == int((1 - val_fraction) * len(text))


def test_an_empty_piece_ends_each_document(tmp_path: Path) -> None:
    paths = [_write(tmp_path / name, text) for name, text in [("b", "one"), ("a", "two\n"), ("c", "three")]]
    whole = find_source([*map(str, paths), "tales:300"], val_fraction=0.5)
    pieces = list(whole.chunks())
    assert pieces[:7] == ["one", "\n", "", "two\n", "", "three", ""]
    assert (pieces.count(""), pieces[-1]) == (5, "")  # three files, the tales to learn from, the tales held out


@pytest.mark.parametrize(
    ("val_fraction", "train", "val", "begins"),
    [
        (0.5, ["one", "\n", "", "t"], ["wo\n", "", "ab", ""], False),  # inside a document
        (0.2, ["one", "\n", "", "two\n", ""], ["ab", ""], True),  # where one ends
    ],
)
def test_the_cut_knows_whether_a_document_begins_there(
    tmp_path: Path, val_fraction: float, train: list[str], val: list[str], begins: bool
) -> None:
    paths = [_write(tmp_path / name, text) for name, text in [("b", "one"), ("a", "two\n"), ("c", "ab")]]
    source = find_source([*map(str, paths)], val_fraction=val_fraction)
    held_out, starts_document = source.held_out()
    assert list(source.train_chunks()) == train
    assert (list(held_out), starts_document) == (val, begins)


def test_tales_behind_a_file_that_is_cut_are_a_document_of_their_own(tmp_path: Path) -> None:
    source = find_source((str(_write(tmp_path / "a.txt", "x" * 10)), "tales:300"), val_fraction=0.5)
    pieces = list(source.train_chunks())
    assert pieces[:2] == ["x" * 5, ""]
    assert pieces[-1] == ""


DOCUMENTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))


@given(DOCUMENTS)
def test_what_ends_a_document_in_a_kept_file_cannot_be_part_of_a_text(documents: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.txt"
        path.write_bytes(b"".join(document.encode() + DOCUMENT_END for document in documents))
        pieces = list(read_documents(path))
    found, current = [], ""
    for piece in pieces:
        if piece:
            current += piece
        else:
            found.append(current)
            current = ""
    assert (found, current) == (documents, "")


def test_a_set_with_a_split_of_its_own_is_not_cut(tmp_path: Path) -> None:
    train, val = _write(tmp_path / "t", "x" * 90), _write(tmp_path / "v", "y" * 10)
    source = Source("set", (train,), val_files=(val,), val_fraction=0.9)
    assert "".join(source.train_chunks()) == "x" * 90
    assert "".join(source.val_chunks()) == "y" * 10
    assert (source.size_bytes, source.train_bytes) == (100, 90)


def test_files_are_joined_at_line_ends_in_the_order_given(tmp_path: Path) -> None:
    paths = [_write(tmp_path / name, text) for name, text in [("b", "one"), ("a", "two\n"), ("c", "three")]]
    source = find_source(tuple(map(str, paths)), val_fraction=0.5)
    assert _text(source) == "one\ntwo\nthree"
    assert ("".join(source.train_chunks()), "".join(source.val_chunks())) == ("one\ntw", "o\nthree")


def test_a_folder_gives_its_texts_sorted_without_hidden_binary_and_empty_files(tmp_path: Path) -> None:
    texts = {"b.txt": "B\n", "a/z.MD": "Z\n", "a.txt": "A\n", "a/deep/er.py": "E\n"}
    others = {".hidden.txt": "no", ".git/config.txt": "no", "picture.png": "no", "empty.txt": "", "binary.txt": "no\0"}
    for name, content in (texts | others).items():
        _write(tmp_path / name, content)
    _write(tmp_path / "packed.txt", gzip.compress(b"no"))
    source = find_source((str(tmp_path),))
    assert _text(source) == "E\nZ\nA\nB\n"
    assert source.name == tmp_path.name


def test_a_glob_takes_any_ending_and_subfolders(tmp_path: Path) -> None:
    for name in ("poems/b.xyz", "poems/a.xyz", "poems/sub/c.xyz", "poems/d.txt"):
        _write(tmp_path / name, name[-5])
    assert _text(find_source((str(tmp_path / "poems" / "*.xyz"),))) == "a\nb"
    assert _text(find_source((str(tmp_path / "poems" / "**" / "*.xyz"),))) == "a\nb\nc"
    assert find_source((str(tmp_path / "poems" / "*.xyz"),)).name == "poems"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["book.txt"], "book"),
        (["my book (2).txt"], "my-book-2"),
        (["a.txt", "b.txt", "c.txt"], "a+2"),
        (["---"], "text"),
    ],
)
def test_a_source_has_a_name_that_is_fit_for_a_folder(tmp_path: Path, names: list[str], expected: str) -> None:
    assert find_source([str(_write(tmp_path / name, "x")) for name in names]).name == expected


def test_the_fingerprint_changes_with_the_text_and_with_what_is_held_out(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.txt", "one")
    source = find_source((str(path),))
    seen = {source.fingerprint, find_source((str(path),)).fingerprint}
    assert len(seen) == 1
    seen.add(find_source((str(path),), val_fraction=0.2).fingerprint)
    seen.add(find_source((str(path), "tales")).fingerprint)
    seen.add(find_source((str(path), "tales:5MB")).fingerprint)
    _write(path, "longer")
    seen.add(source.fingerprint)
    os.utime(path, ns=(1, 1))
    seen.add(source.fingerprint)
    assert len(seen) == 6


def test_tales_are_whole_and_the_held_out_ones_are_others() -> None:
    source = find_source(("tales:60KB",), val_fraction=0.25)
    train, val = "".join(source.train_chunks()), "".join(source.val_chunks())
    assert 45_000 <= len(train) < 47_000
    assert 15_000 <= len(val) < 17_000
    assert _text(source) == train + val
    stories = [part.split(tales.SEPARATOR)[:-1] for part in (train, val)]
    assert not set(stories[0]) & set(stories[1])
    assert stories[1][0] == next(iter(tales.stories(TALES_SEED, HELD_OUT_TALE)))
    assert all(tales.log_prob(story) < 0 for story in stories[0][-2:] + stories[1][-2:])  # none is cut in half


def test_tales_and_files_together_are_each_split_in_their_own_way(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.txt", "x" * 90 + "y" * 10)
    source = find_source(("tales:20KB", str(path)), val_fraction=0.1)
    assert source.name == "tales+1"
    train, val = "".join(source.train_chunks()), "".join(source.val_chunks())
    assert train.startswith("x" * 90)
    assert val.startswith("y" * 10)
    assert train.endswith(tales.SEPARATOR)


@pytest.mark.parametrize(("spec", "size"), [("tales", 4_000_000), ("tales:1.5mb", 1_500_000), ("tales:700", 700)])
def test_tales_are_as_long_as_one_says(spec: str, size: int) -> None:
    assert find_source((spec,)).tales_bytes == size


@pytest.mark.parametrize("spec", ["tales:10XB", "tales:0", "tales:-1MB", "tales:MB"])
def test_a_size_that_is_none_is_refused(spec: str) -> None:
    assert "is no size; write it like tales:10MB" in _problem(spec)


def test_python_is_the_standard_library() -> None:
    source = find_source(("python",))
    assert source.name == "python"
    assert any(path.name == "argparse.py" for path in source.files)
    assert not any("site-packages" in path.parts for path in source.files)
    assert list(source.files) == sorted(source.files)


def test_every_named_text_is_listed() -> None:
    assert [named.name for named in list_named()] == [
        "tales", "python", "tinyshakespeare", "wikitext-103", "hf:NAME[:CONFIG]",
    ]  # fmt: skip


def test_a_missing_file_is_named_and_the_nearest_name_offered(tmp_path: Path) -> None:
    _write(tmp_path / "moby_dick.txt", "x")
    assert "did you mean tinyshakespeare?" in _problem("tiny_shakespeare")
    assert f"did you mean {tmp_path / 'moby_dick.txt'}?" in _problem(tmp_path / "mobydick.txt")
    assert "no file, folder or named text" in _problem(tmp_path / "no" / "where")


def test_nothing_named_is_a_mistake() -> None:
    with pytest.raises(DataError, match="no data was named"):
        find_source(())


def test_an_empty_file_is_a_mistake(tmp_path: Path) -> None:
    assert "is empty; there is nothing to learn from it" in _problem(_write(tmp_path / "empty.txt", ""))


def test_a_folder_without_text_says_what_was_looked_for(tmp_path: Path) -> None:
    _write(tmp_path / "a.png", "x")
    message = _problem(tmp_path)
    assert "none of its 1 files is a text with a known ending (.txt" in message
    assert "use a glob" in message


def test_a_glob_that_finds_nothing_is_a_mistake(tmp_path: Path) -> None:
    assert "matches" in _problem(tmp_path / "*.txt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "no file that can be read twice" in _problem(tmp_path / "pipe")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_said(tmp_path: Path) -> None:
    path = _write(tmp_path / "folder" / "secret.txt", "x")
    path.chmod(0)
    assert "cannot read" in _problem(path)
    path.parent.chmod(0)
    try:
        assert "cannot read" in _problem(path.parent)
    finally:
        path.parent.chmod(0o700)
