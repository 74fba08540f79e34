"""The folder in which the mistakes of `mistakes.txt` are typed: a newcomer's, with every wrong file that they name.

Only what is wrong with a file matters, so most are a line long. Who types there, and what is looked at afterwards, is
in `mistakes_test.py`.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import glassgpt
from glassgpt.text.learn import learn_tokenizer
from glassgpt.text.store import save_tokenizer

BOOK = "The owl flew over the sea, and the sea was calm. «Näin», said the owl.\n" * 40
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
ZIP = b"PK\x03\x04" + bytes(200)
FILES: dict[str, bytes] = {
    "book.txt": BOOK.encode(), "empty.txt": b"", "blank.txt": b" \n" * 20, "short.txt": b"Once upon a time.",
    "letter.txt": b"x", "chinese.txt": "猫坐在垫子上。".encode() * 50, "photo.png": PNG, "photos/cat.jpg": PNG,
    "latin.txt": b"a" * 500 + b"\xe9t\xe9" + b"b" * 500, "utf16.txt": BOOK.encode("utf-16"), "begun/config.yaml": b"",
    "zipped.safetensors": ZIP, "picture.safetensors": PNG, "words.safetensors": BOOK.encode(), "empty.safetensors": b"",
    "foreign.safetensors": struct.pack("<Q", 2) + b"{}", "zipped.pt": ZIP, "words.pt": BOOK.encode(),
    "broken.json": b"{", "list.json": b"[1]", "table.json": b"{}", "binary.json": PNG, "other.txt": b"abc" * 500,
    "garbage.csv": b"step,train_loss\n1,2\nthe cat,3\n", "header.csv": b"name,age\nAnn,7\n", "empty.csv": b"",
    "binary.csv": PNG, "nosteps.csv": b"step,train_loss\n",
    "empty.yaml": b"", "list.yaml": b"- d_model\n- 64\n", "tab.yaml": b"d_model: 64\n\tn_layers: 2\n",
    "twice.yaml": b"d_model: 64\nn_layers: 2\nd_model: 32\n", "unknown.yaml": b"d_modle: 64\n",
    "colon.yaml": b"a: b: c\n",
    "types.yaml": b"d_model: [64, 32]\n", "nested.yaml": b"model:\n  d_model: 64\n", "model.yaml": b"n_layers: two\n",
    "words.yaml": b"just some words\n", "date.yaml": b"max_steps: 2026-01-02\n", "truth.yaml": b"n_layers: true\n",
    "alias.yaml": b"n_embd: 64\nd_model: 32\n", "no-search.yaml": b"trials: 3\n",
    "search-list.yaml": b"search: [d_model]\n", "search-unknown.yaml": b"search: {d_modle: [32, 64]}\n",
    "search-backwards.yaml": b"search: {dropout: {low: 0.5, high: 0.1}}\n", "search-empty.yaml": b"search: {}\n",
    "search-word.yaml": b"search: {dropout: {low: 0.1, hihg: 0.5}}\n",
    "search-log.yaml": b"search: {dropout: {low: 0, high: 0.1, log: true}}\n",
    "search-half.yaml": b"search: {dropout: {low: 0.1}}\n", "search-never.yaml": b"search: {dropout: [1, 2]}\n",
    "search-text.yaml": b"search: {data: [a.txt, b.txt]}\n", "search-one.yaml": b"search: {dropout: 0.1}\n",
    "base-list.yaml": b"base: [a]\nsearch: {dropout: [0, 0.1]}\n",
    "base-unknown.yaml": b"base: {d_modle: 3}\nsearch: {dropout: [0, 0.1]}\n",
    "pruning.yaml": b"pruning: sometimes\nsearch: {dropout: [0, 0.1]}\n",
}  # fmt: skip


def make_world(folder: Path) -> None:
    """book.txt and runs/book, trained for a moment; and whatever else could be named by mistake."""
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for name in ("bare", "folder.yaml", "folder.json", "folder.csv"):
        (folder / name).mkdir()
    (folder / "locked").mkdir(mode=0o555)
    with living_in(folder):
        tiny: dict[str, Any] = {
            "n_layers": 1,
            "d_model": 16,
            "n_heads": 2,
            "seq_len": 16,
            "max_seq_len": 32,
            "batch_size": 4,
        }
        plain: dict[str, Any] = {"device": "cpu", "precision": "fp32", "threads": 1, "sample_every": 0}
        glassgpt.train("book.txt", max_steps=6, eval_every=3, save_every=3, **tiny, **plain)
    save_tokenizer(learn_tokenizer(["abc"], kind="char", vocab_size=None, unknown="error"), folder / "other.json")
    whole = (folder / "runs/book/best.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[:700])
    (folder / "flipped.safetensors").write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])


@contextlib.contextmanager
def living_in(
    folder: Path, *, environment: Mapping[str, str] | None = None, without: Sequence[str] = ()
) -> Iterator[None]:
    """Typed there, with a cache of its own, no server, two steps at most; some packages are as if not installed."""
    where, before, hidden = Path.cwd(), dict(os.environ), {name: sys.modules.get(name) for name in without}
    os.environ.update(surroundings(folder) | dict(environment or {}))
    sys.modules.update(dict.fromkeys(without))  # type: ignore[arg-type]  # None: Python looks no further
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(where)
        os.environ.clear()
        os.environ.update(before)
        for name, module in hidden.items():
            sys.modules.pop(name)
            sys.modules.update({name: module} if module else {})


def surroundings(folder: Path) -> dict[str, str]:
    nowhere = "http://127.0.0.1:9"  # the discard port: refused at once, as a machine without a network refuses
    cache = folder.with_name(f"{folder.name}-cache")
    return {"GLASSGPT_CACHE": str(cache), "GLASSGPT_MIRROR": nowhere, "HF_ENDPOINT": nowhere, "HF_HOME": str(cache),
            "GLASSGPT_MAX_STEPS": "2", "OMP_NUM_THREADS": "1"}  # fmt: skip
