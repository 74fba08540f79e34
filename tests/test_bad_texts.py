"""Odd texts: what is text comes back byte for byte, and what is none is told in one line. Odd prompts have a file."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import glassgpt
from conftest import refusal, text_of
from glassgpt.config import DataConfig
from glassgpt.data.prepare import Prepared, prepare
from glassgpt.text.base import Tokenizer
from glassgpt.text.bpe import BPE
from glassgpt.text.bytelevel import SPECIALS
from glassgpt.text.chars import CharTokenizer
from glassgpt.text.fast import SHORT, FastBPE

BOOK = "The owl flew over the sea, and the sea was calm. «Näin», said the owl.\n" * 60
LOOK_ALIKES = "".join(SPECIALS) + "<|endoftext|></s>[UNK]<unk><|im_start|>"
ODD = {
    "bidi, combining, zero width": "\u202eabc\u202c e\u0301\u0323 \u200b\u200d\ufeff\u2066x",
    "line ends of others": "a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g",
    "nobody's characters": "\ue000\U0010fffd\ufffe\uffff\U000e0001\u0378\U0003ffff",
    "control characters": "".join(map(chr, range(1, 32))).replace("\r", "") + "\x7f\x9f",
    "special tokens, by name": LOOK_ALIKES,
    "like other formats": "BZhang %PDF settings",
    "blanks": " \n\t\u3000" * 90,
    "one character": "a" * 900,
}
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
LEARNED = FastBPE.train([BOOK], vocab_size=300)
WARM = FastBPE(LEARNED.merges)
WARM.encode("a" * SHORT)  # from now on the engine in Rust answers


def prepared(folder: Path, content: bytes | str, *, vocab_size: int | None = None) -> Prepared:
    path = folder / "text.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return prepare(DataConfig(data=(str(path),)), vocab_size=vocab_size, cache=folder / "cache", min_tokens=0)


@settings(max_examples=100)
@given(ANY_TEXT)
@example(LOOK_ALIKES)
@example("".join(ODD.values()))
def test_any_text_comes_back_from_every_tokenizer(text: str) -> None:
    plain = BPE(LEARNED.merges)
    tokenizers: list[Tokenizer] = [plain, LEARNED, WARM, *([CharTokenizer(sorted(set(text)))] if text else [])]
    for tokenizer in tokenizers:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert not {tokenizer.begin_id, tokenizer.end_id} & set(ids)
    assert plain.encode(text) == WARM.encode(text)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANY_TEXT.filter(lambda text: text.lstrip("\ufeff") != "" and "\0" not in text), st.sampled_from([None, 258]))
@example("\ufeff\ufeffa mark, and another", None)
@example("\r\n\r\r\n\n\ra", 258)
def test_any_text_comes_back_from_the_token_files(tmp_path: Path, text: str, vocab_size: int | None) -> None:
    found = prepared(tmp_path, text, vocab_size=vocab_size)
    assert text_of(found) == text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    shutil.rmtree(tmp_path / "cache")


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("vocab_size", [None, 258])
def test_odd_texts_come_back_from_the_token_files(tmp_path: Path, kind: str, vocab_size: int | None) -> None:
    found = prepared(tmp_path, ODD[kind], vocab_size=vocab_size)
    assert text_of(found) == ODD[kind]
    if vocab_size is not None:  # the marks stand around the document, and nowhere in it
        marks = [*found.train_ids.tolist(), *found.val_ids.tolist()]
        assert [place for place, mark in enumerate(marks) if mark >= 256] == [0, len(marks) - 1]


REFUSED = {
    "UTF-16": (BOOK.encode("utf-16"), "is UTF-16; save it as UTF-8"),
    "UTF-16, no mark": (BOOK.encode("utf-16-be"), "a zero byte at offset 0"),
    "UTF-16 of Japanese, no mark": (("日本語の本" * 99).encode("utf-16-le"), "is not UTF-8"),
    "UTF-32": (BOOK.encode("utf-32"), "is UTF-32; save it as UTF-8"),
    "UTF-32, the other way": (codecs.BOM_UTF32_BE + BOOK.encode("utf-32-be"), "is UTF-32"),
    "a zero byte far behind": (BOOK.encode() * 99 + b"\0", f"a zero byte at offset {len(BOOK.encode()) * 99:,}"),
    "half characters": (b"abc\xed\xa0\x80", "byte 0xed at offset 3"),
    "a character in too many bytes": (b"ab\xc0\x80", "byte 0xc0 at offset 2"),
    "beyond Unicode": (b"\xf4\x90\x80\x80", "byte 0xf4 at offset 0"),
    "gzip": (gzip.compress(b"x", mtime=0), "gunzip"),
    "bzip2": (bz2.compress(b"x"), "bunzip2"),
    "bzip2 of nothing": (bz2.compress(b""), "bunzip2"),
    "xz": (lzma.compress(b"x"), "unxz"),
    "a PDF": (b"%PDF-2.0 ...", "pdftotext"),
    "nothing": (b"", "is empty"),
    "only a byte order mark": (codecs.BOM_UTF8, "is empty"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_text_is_told_with_the_way_out(tmp_path: Path, kind: str) -> None:
    content, message = REFUSED[kind]
    assert message in refusal(lambda: prepared(tmp_path, content))
    assert message in refusal(lambda: prepared(tmp_path, content, vocab_size=300))


MEASURE = """
import resource, sys
from pathlib import Path
from glassgpt.config import DataConfig
from glassgpt.data.prepare import prepare

unit = 1 if sys.platform == "darwin" else 1024
for text in sys.argv[3:]:
    prepare(DataConfig(data=(text,)), vocab_size=int(sys.argv[2]) or None, cache=Path(sys.argv[1]))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no ru_maxrss")
@pytest.mark.parametrize(
    ("vocab_size", "megabytes"),
    [(0, 12), pytest.param(0, 100, marks=pytest.mark.slow), pytest.param(270, 40, marks=pytest.mark.slow)],
)
def test_memory_stays_flat_for_a_line_that_never_ends(tmp_path: Path, vocab_size: int, megabytes: int) -> None:
    block = BOOK.replace("\n", " ").encode("utf-8")
    for name, size in (("small", 2), ("large", megabytes)):
        (tmp_path / name).write_bytes(block * (size * 1_000_000 // len(block)))
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "cache"), str(vocab_size)]
    answer = subprocess.run(
        [*command, str(tmp_path / "small"), str(tmp_path / "large")], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(Path(glassgpt.__path__[0]).parent)},
    )  # fmt: skip
    small, large = map(int, answer.stdout.split())
    assert large - small < 10_000_000
