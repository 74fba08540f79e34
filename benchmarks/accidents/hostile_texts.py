"""What an enemy would send of the files that are text: tokenizers and configurations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Named = Iterator[tuple[str, bytes]]
DEEP = 100_000


def bad_tokenizers(bpe: dict[str, Any], char: dict[str, Any], *, small: bool) -> Named:
    def form(whole: dict[str, Any], **changes: Any) -> bytes:
        return json.dumps(whole | {"model": whole["model"] | changes}).encode()

    yield "nested deeply", b'{"model":' + b"[" * DEEP
    yield "tables nested deeply", b'{"model":' * DEEP
    yield "a number of a million digits", b'{"model":' + b"7" * 1_000_000 + b"}"
    yield "NaN as an id", form(char, vocab={"a": float("nan")})
    yield "a huge id", form(char, vocab={"a": 10**25})
    yield "negative ids", form(char, vocab={"a": -1, "b": 0})
    yield "half a character", form(char, vocab={"\ud800": 0})
    yield "no vocabulary", form(char, vocab=[[]])
    yield "a kind that is a list", form(char, type=["WordLevel"])
    yield "merges that are a table", form(bpe, merges={"a": "b"})
    yield "merges of themselves", form(bpe, merges=[["<|end|>", "<|end|>"]] * 32)
    yield "a merge too long", form(bpe, merges=[["x" * 100_000, "y"], *bpe["model"]["merges"][1:]])
    yield "a comma too many", json.dumps(bpe).encode().replace(b"]]}", b"],]}")
    yield "the same name twice", json.dumps(char).encode().replace(b'"version"', b'"model": {}, "version"')
    doubling = {chr(c): i for i, c in enumerate(range(0x4E00, 0x4E00 + 20_000))}
    yield "an odd id at the end", form(char, vocab=doubling | {"x": 20_001})
    if small:
        return
    yield "large: empty lists", b"[" + b"[]," * 10_000_000 + b"[]]"
    yield "large: small tables", b"[" + b'{"a":0},' * 3_000_000 + b"{}]"
    yield (
        "large: merges that are none",
        form(bpe, merges=[]).replace(b'"merges": []', b'"merges": [' + b"[[],[]]," * 3_000_000 + b"0]"),
    )
    yield (
        "large: 50 MB with one character that is not Latin",
        b'{"version":"' + b"x" * 50_000_000 + "語".encode() + b'"}',
    )
    yield "large: 30 MB with one emoji", b'{"version":"' + b"x" * 30_000_000 + "😀".encode() + b'"}'
    yield "large: a vocabulary of 2,000,000", form(char, vocab={f"t{n}": n for n in range(2_000_000)})
    yield "large: a vocabulary of 128,000, wrong at the end", grown(128_000, wrong=True)
    yield "large: a number in each line", b"[" + b"1.5,\n" * 6_000_000 + b"1]"


def grown(size: int, *, wrong: bool) -> bytes:
    """A BPE of so many tokens, each made of earlier ones, as `glassgpt tokenizer train` would write it."""
    from glassgpt.text.fast import FastBPE

    pairs = [(left, right) for left in range(256) for right in range(256)]
    merges = pairs[: min(size - 258, 65_536)]
    merges += [(256 + n, n % 251) for n in range(size - 258 - len(merges))]
    text = FastBPE(merges).to_json()
    if wrong:
        place = text.rindex('",\n')
        text = text[:place] + "x" + text[place:]
    return text.encode()


def bad_configs(canary: str) -> Named:
    laughs = b"a: &a [lol]\n" + b"".join(
        b"%c: &%c [%s]\n" % (n + 1, n + 1, b",".join([b"*%c" % n] * 9)) for n in range(97, 120)
    )
    yield "a billion laughs", laughs + b"data: *x\n"
    yield "merged keys", b"a: &a {d_model: 64}\nb:\n  <<: *a\n"
    yield "a list in itself", b"data: &a [*a]\n"
    yield "an anchor", b"d_model: &x 64\n"
    yield "nested deeply, in a line", b"data: " + b"[" * DEEP
    yield "tables nested deeply, in a line", b"data: " + b"{a: " * 7_000
    yield "nested deeply, in lines", b"\n".join(b" " * n + b"- " for n in range(250))
    yield "nested deeply, in dashes", b"data:\n" + b"- " * 16_000 + b"x"
    yield "questions", b"? " * 16_000
    yield "ten megabytes of names", b"".join(b"name%d: 1\n" % n for n in range(800_000))
    yield "thirty kilobytes of names", b"".join(b"n%d: 1\n" % n for n in range(3_600))
    yield "thirty kilobytes of list", b"data: [" + b"a," * 16_000 + b"]"
    yield "thirty kilobytes of colons", b":" * 32_000
    yield "thirty kilobytes of quotes", b"data: '" + b"''" * 16_000
    yield "thirty kilobytes of a name", b"x" * 32_000 + b": 1"
    yield "a number that fills pages", b"d_model: " + b"9" * 30_000
    yield "a hexadecimal number that fills pages", b"d_model: 0x" + b"f" * 30_000
    yield "a number in base sixty", b"d_model: 1" + b":59" * 10_000
    yield "a number for ever", b"d_model: .inf\nseq_len: .nan\n"
    yield "a date", b"data: 2001-01-01\nd_model: 2001-12-14t21:59:43.10-05:00\n"
    yield "a date that is none", b"d_model: 2001-99-99\n"
    for tag in (
        f"!!python/object/apply:os.system ['touch {canary}']",
        "!!python/name:os.system",
        "!!bool maybe",
        "!!int ''",
        "!!timestamp x",
        "!!binary '=='",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!float x",
        "!mine 7",
    ):
        yield f"the tag {tag.split()[0]}", f"d_model: {tag}\n".encode()
    yield "a table as a name", b"{[1, 2]: 3, {a: b}: 4}"
    yield "a table as a value", b"d_model: {a: [1, {b: c}]}\n"
    yield "two documents", b"d_model: 64\n---\nd_model: 32\n"
    yield "a control character", b"d_model: \x01\x00\n"
    yield "no UTF-8", b"data: \xff\xfe\n"
    yield "a list", b"- 1\n- 2\n"
    yield "everything of the wrong kind", b"d_model: [1]\nseq_len: {}\ndata: 7\nseed: x\n"
