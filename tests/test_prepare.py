import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import glassgpt
from glassgpt.config import DataConfig
from glassgpt.data.prepare import Prepared, prepare
from glassgpt.errors import DataError, GlassgptError, UnknownCharacterError
from glassgpt.files import sha256_of
from glassgpt.text.chars import CharTokenizer
from glassgpt.text.store import load_tokenizer, save_tokenizer

TEXT = "The quick brown fox.\nÄ日😀 jumps over the lazy dog.\n" * 40


def _book(folder: Path, text: str = TEXT, name: str = "book.txt") -> str:
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return str(path)


def _prepare(tmp_path: Path, text: str = TEXT, *, min_tokens: int = 2, **settings: Any) -> Prepared:
    config = DataConfig(data=(_book(tmp_path, text),), **settings)
    return prepare(config, cache=tmp_path / "cache", min_tokens=min_tokens)


def _texts(prepared: Prepared) -> tuple[str, str]:
    return prepared.tokenizer.decode(prepared.train_ids), prepared.tokenizer.decode(prepared.val_ids)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0\ufeff"), min_size=8),
    st.floats(0.3, 0.7),
)
def test_the_token_files_are_the_text_cut_in_two(tmp_path: Path, text: str, val_fraction: float) -> None:
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    train, val = _texts(_prepare(tmp_path, text, val_fraction=val_fraction))
    assert train + val == text
    assert len(train) == int((1 - val_fraction) * len(text))


def test_the_files_are_the_plain_ones_that_others_read(tmp_path: Path) -> None:
    prepared = _prepare(tmp_path)
    ids = np.fromfile(prepared.folder / "val.bin", dtype="<u2")
    tokenizer = load_tokenizer(prepared.folder / "tokenizer.json")
    assert tokenizer.decode(ids) == TEXT[-len(ids) :]
    assert tokenizer.digest == prepared.tokenizer.digest


def test_meta_says_what_lies_there(tmp_path: Path) -> None:
    prepared = _prepare(tmp_path)
    meta = json.loads((prepared.folder / "meta.json").read_text(encoding="utf-8"))
    train, val = _texts(prepared)
    for name, text in (("train", train), ("val", val)):
        assert meta[name] == {
            "tokens": len(text),
            "characters": len(text),
            "bytes": len(text.encode("utf-8")),
            "sha256": sha256_of(prepared.folder / f"{name}.bin"),
        }
    assert meta["vocab_size"] == len(set(TEXT))
    assert meta["dtype"] == "<u2"
    assert meta["tokenizer"] == prepared.tokenizer.digest
    assert meta["source"] == "book"


def test_more_than_65536_tokens_take_four_bytes(tmp_path: Path) -> None:
    points = (point for point in range(1, 0x12000) if not 0xD800 <= point < 0xE000 and point not in {13, 0xFEFF})
    text = "".join(map(chr, points))
    prepared = _prepare(tmp_path, text)
    assert prepared.meta.dtype == "<u4"
    assert "".join(_texts(prepared)) == text


def test_a_tokenizer_file_that_does_not_exist_yet_is_made_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "mine.json"
    first = _prepare(tmp_path, tokenizer=str(path))
    assert load_tokenizer(path).digest == first.tokenizer.digest
    again = prepare(DataConfig(data=first.meta.data, tokenizer=str(path)), cache=tmp_path / "cache")
    np.testing.assert_array_equal(first.train_ids, again.train_ids)


def test_an_existing_tokenizer_is_used_as_it_is(tmp_path: Path) -> None:
    tokenizer = CharTokenizer(sorted(set(TEXT + "xyz!"), reverse=True))
    save_tokenizer(tokenizer, tmp_path / "mine.json")
    prepared = _prepare(tmp_path, tokenizer=str(tmp_path / "mine.json"))
    assert prepared.tokenizer.digest == tokenizer.digest
    assert prepared.train_ids.tolist() == tokenizer.encode(TEXT)[: len(prepared.train_ids)]


def test_unknown_characters_under_an_existing_tokenizer_are_a_choice(tmp_path: Path) -> None:
    save_tokenizer(CharTokenizer(sorted(set(TEXT) - {"q"})), tmp_path / "mine.json")
    with pytest.raises(UnknownCharacterError, match="character 'q'"):
        _prepare(tmp_path, tokenizer=str(tmp_path / "mine.json"))
    skipped = _prepare(tmp_path, tokenizer=str(tmp_path / "mine.json"), unknown="skip")
    assert "".join(_texts(skipped)) == TEXT.replace("q", "")
    replaced = _prepare(tmp_path, tokenizer=str(tmp_path / "mine.json"), unknown="replace")
    assert "".join(_texts(replaced)) == TEXT.replace("q", " ")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"min_tokens": 300},
            "its held-out part has 200 tokens, and one window needs 300; choose --seq-len 199 or less, ",
        ),
        ({"min_tokens": 300}, "a larger --val-fraction, or more text"),
        ({"val_fraction": 0.9, "min_tokens": 300}, "its training part has 199 tokens"),
        ({"val_fraction": 0.9, "min_tokens": 300}, "a smaller --val-fraction, or more text"),
        ({"text": "ab"}, "its training part has 1 tokens, and one window needs 2; choose more text"),
        ({"tokenizer": "bep"}, 'tokenizer "bep" is neither auto, char, bpe nor a file'),
        ({"text": "abab" * 9, "unknown": "replace"}, "choose --unknown skip"),
    ],
)
def test_mistakes_are_one_line_and_harm_nothing(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(GlassgptError) as caught:
        _prepare(tmp_path, **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_text_that_is_too_short_makes_no_tokenizer_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too short"):
        _prepare(tmp_path, "short", min_tokens=99, tokenizer=str(tmp_path / "mine.json"))
    assert not (tmp_path / "mine.json").exists()


WORDS = "The quick brown fox jumps over the lazy dog. Näin! " * 60


def _with_size(tmp_path: Path, vocab_size: int | None, *, text: str = WORDS, **settings: Any) -> Prepared:
    book = tmp_path / "book.txt"
    config = DataConfig(data=(str(book) if book.exists() else _book(tmp_path, text),), **settings)
    return prepare(config, vocab_size=vocab_size, cache=tmp_path / "cache")


def test_a_vocabulary_size_means_bpe_and_its_ids_are_the_text(tmp_path: Path) -> None:
    prepared = _with_size(tmp_path, 280)
    assert (prepared.tokenizer.kind, prepared.tokenizer.vocab_size) == ("bpe", 280)
    assert "".join(_texts(prepared)) == WORDS
    assert len(prepared.train_ids) < prepared.meta.train.characters
    assert _with_size(tmp_path, 280).folder == prepared.folder
    folders = {_with_size(tmp_path, size, tokenizer=kind).folder for size, kind in [(280, "bpe"), (270, "auto")]}
    assert len(folders | {prepared.folder, _with_size(tmp_path, None).folder}) == 3


def test_bpe_marks_where_documents_begin_and_end(tmp_path: Path) -> None:
    config = DataConfig(data=(_book(tmp_path, WORDS), _book(tmp_path, WORDS * 2, "other.txt")), val_fraction=0.5)
    prepared = prepare(config, vocab_size=270, cache=tmp_path / "cache")
    names = [[prepared.tokenizer.name_of(token) for token in ids] for ids in (prepared.train_ids, prepared.val_ids)]
    marks = [[name for name in part if name in {"<|begin|>", "<|end|>"}] for part in names]
    assert marks == [["<|begin|>", "<|end|>", "<|begin|>"], ["<|end|>"]]  # the second file is cut in the middle
    assert "".join(_texts(prepared)) == WORDS + "\n" + WORDS * 2


def test_the_held_out_text_has_no_part_in_the_merges(tmp_path: Path) -> None:
    first = _with_size(tmp_path, 270, text=WORDS * 9 + "zq" * 90)
    _book(tmp_path, WORDS * 9 + "xk" * 90)
    other = _with_size(tmp_path, 270)
    assert first.tokenizer.digest == other.tokenizer.digest


def test_of_characters_the_size_is_a_limit(tmp_path: Path) -> None:
    plain = _with_size(tmp_path, None)
    loose = _with_size(tmp_path, 99, tokenizer="char")
    assert (loose.folder, loose.tokenizer.kind) == (plain.folder, "char")  # nothing was cut off: the same answer
    exact = _with_size(tmp_path, plain.tokenizer.vocab_size, tokenizer="char")
    assert exact.folder == plain.folder
    few = _with_size(tmp_path, 12, tokenizer="char", unknown="replace")
    assert few.tokenizer.vocab_size == 12
    assert "\ufffd" in "".join(_texts(few))
    again = _with_size(tmp_path, 12, tokenizer="char", unknown="replace")
    assert again.folder == few.folder
    with pytest.raises(GlassgptError, match="--unknown replace"):
        _with_size(tmp_path, 12, tokenizer="char")


def test_a_limit_that_cuts_nothing_is_the_same_when_it_comes_first(tmp_path: Path) -> None:
    loose = _with_size(tmp_path, 99, tokenizer="char")
    assert _with_size(tmp_path, None).folder == loose.folder


def test_a_tokenizer_file_is_learned_in_the_size_asked_for_and_then_must_have_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    learned = _with_size(tmp_path, 280, tokenizer=str(path))
    assert load_tokenizer(path).digest == learned.tokenizer.digest
    assert load_tokenizer(path).kind == "bpe"
    assert _with_size(tmp_path, 280, tokenizer=str(path)).tokenizer.digest == learned.tokenizer.digest
    with pytest.raises(GlassgptError, match=r'vocab_size=290, but the tokenizer ".*mine.json" has 280 tokens'):
        _with_size(tmp_path, 290, tokenizer=str(path))


def test_progress_is_told_from_nothing_to_all(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    config = DataConfig(data=("tales:2MB",))
    prepare(config, cache=tmp_path / "cache", progress=lambda what, share: told.append((what, share)))
    for stage in ("reading", "encoding"):
        shares = [share for what, share in told if what == stage]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert len(shares) > 50


def test_shakespeare_is_split_where_everybody_splits_it(tmp_path: Path) -> None:
    path = Path(__file__).resolve().parents[2] / "shared" / "data" / "tinyshakespeare.txt"
    if not path.is_file():
        pytest.skip("tinyshakespeare.txt does not lie beside this repository")
    prepared = prepare(DataConfig(data=(str(path),)), cache=tmp_path)
    assert (len(prepared.train_ids), len(prepared.val_ids)) == (1_003_854, 111_540)  # as in nanoGPT
    assert prepared.tokenizer.vocab_size == 65


MEASURE = """
import resource, sys
from pathlib import Path
from glassgpt.config import DataConfig
from glassgpt.data.prepare import prepare

unit = 1 if sys.platform == "darwin" else 1024
for text in sys.argv[2:]:
    prepare(DataConfig(data=(text,)), cache=Path(sys.argv[1]))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
"""


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no ru_maxrss; benchmarks/preparation.py is for the rest"
)
def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    block = (TEXT * 50).encode("utf-8")
    for name, size_bytes in (("small", 2_000_000), ("large", 40_000_000)):
        (tmp_path / name).write_bytes(block * (size_bytes // len(block)))
    command = [sys.executable, "-c", MEASURE, *(str(tmp_path / name) for name in ("cache", "small", "large"))]
    source = str(Path(glassgpt.__file__).parents[1])
    answer = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PYTHONPATH": source, "HOME": "/"}
    )
    small, large = map(int, answer.stdout.split())
    assert large - small < 10_000_000  # 38 MB more text, 64 MB more ids
