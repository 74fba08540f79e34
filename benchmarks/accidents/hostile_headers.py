"""What an enemy would write into the header of a safetensors file: structure without end, tensors that lie, odd facts.

`hostile_cases.py` makes files of it, with a right digest where what lies behind the digest is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

DEEP = 100_000
BEGINNING = b'{"__metadata__":{"digest":"' + b"0" * 64 + b'","format":"glassgpt checkpoint 1"},"x":'


def bad_headers() -> Iterator[tuple[str, bytes]]:
    facts = BEGINNING
    yield "of nothing", b""
    yield "nested deeply", b"[" * DEEP
    yield "nested deeply in itself", facts + b'{"a":' * DEEP
    yield "of empty lists", facts + b"[" + b"[]," * 700_000 + b"[]]}"
    yield "of empty tables", facts + b"[" + b"{}," * 700_000 + b"{}]}"
    yield "of small tables", facts + b"[" + b'{"a":0},' * 300_000 + b"{}]}"
    yield "of numbers", facts + b"[" + b"123456," * 300_000 + b"1]}"
    yield "with a number of a million digits", facts + b"9" * 1_000_000 + b"}"
    yield "with a fraction of a million digits", facts + b"0." + b"9" * 1_000_000 + b"}"
    yield "with NaN", facts + b"NaN}"
    yield "with Infinity", facts + b"[-Infinity]}"
    yield "of quotes", facts + b'["' + b'","' * 600_000 + b'"]}'
    yield "of backslashes", facts + b'"' + b"\\" * 1_000_001
    yield "with half a character", facts + rb'"\ud800"}'
    yield "that is no UTF-8", facts + b'"\xff\xfe"}'
    yield "that is a list", b"[]"


def large_headers() -> Iterator[tuple[str, bytes]]:
    facts = BEGINNING
    yield "large: of empty lists", facts + b"[" + b"[]," * 33_000_000 + b"[]]}"
    yield "large: of tables", facts + b"[" + b'{"a":{}},' * 3_600_000 + b"{}]}"
    yield "large: of lists, just short enough", facts + b"[" + b"[]," * 8_000_000 + b"[]]}"
    yield "large: of one text, with one emoji", facts + b'"' + b"x" * 33_000_000 + "😀".encode() + b'"}'


def bad_tensors() -> dict[str, Callable[[dict[str, Any]], object]]:
    return {
        "of an overflowing shape": lambda entry: entry.update(shape=[1 << 62, 4]),
        "of nothing times very much": lambda entry: entry.update(shape=[0, 1 << 62, 1 << 62]),
        "of a negative size": lambda entry: entry.update(shape=[-1, -16]),
        "of a broken size": lambda entry: entry.update(shape=[1.5]),
        "of true": lambda entry: entry.update(shape=[True, True]),
        "of many axes": lambda entry: entry.update(shape=[1] * 5000),
        "that overlaps another": lambda entry: entry.update(data_offsets=[0, 64]),
        "that lies nowhere": lambda entry: entry.update(data_offsets=[1 << 63, (1 << 63) + 64]),
        "that ends before it begins": lambda entry: entry.update(data_offsets=[64, 0]),
        "of an unknown kind": lambda entry: entry.update(dtype="F1"),
        "of a kind that is a list": lambda entry: entry.update(dtype=["F32"]),
        "with something more": lambda entry: entry.update(more=1),
        "without a shape": lambda entry: entry.pop("shape"),
    }


def bad_facts() -> Iterator[tuple[str, str, Any]]:
    name: str
    value: Any
    for name, value in (
        ("d_model", 10**12),
        ("n_layers", 10**12),
        ("n_layers", 9999),
        ("vocab_size", 10**15),
        ("vocab_size", None),
        ("d_ff", -1),
        ("dropout", float("nan")),
        ("n_heads", "2"),
        ("rope_base", 1e308),
        ("rope_base", 5e-324),
        ("architecture", "bigram"),
        ("architecture", ["gpt"]),
        ("no_such", 1),
        ("max_seq_len", 10**12),
        ("", [1]),
    ):
        yield "model", name, value
    for name, value in (
        ("seq_len", "sixteen"),
        ("seq_len", 0),
        ("seq_len", 10**30),
        ("seq_len", None),
        ("data", 7),
        ("data", []),
        ("sample_prompt", 7),
        ("sample_prompt", "ß"),
        ("max_steps", "many"),
        ("learning_rate", 10**400),
        ("no_such", 1),
        ("seed", 10**40),
        ("", [1]),
        ("", None),
        ("", "text"),
    ):
        yield "settings", name, value
    for name, value in (
        ("history", 7),
        ("history", [[1]]),
        ("best_val_loss", "low"),
        ("best_step", None),
        ("seconds", "x"),
        ("seconds", -1),
        ("step", []),
        ("floor", "x"),
        ("data_digest", 7),
        ("best_val_loss", float("inf")),
        ("", []),
        ("history", "abc"),
    ):
        yield "metrics", name, value
    yield "origins", "d_model", 7
    yield "origins", "", [1]
