"""The one tokenizer.json: the format of the `tokenizers` library, for every kind of tokenizer.

A tokenizer read from a file or out of a checkpoint comes through here and is checked piece by piece: the text may be
anybody's. Each kind has its reader; what the file says is written in `to_json`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from glassgpt.errors import TokenizerError
from glassgpt.files import write_text
from glassgpt.jsonfile import parse, read_limited
from glassgpt.text.base import Tokenizer
from glassgpt.text.bytelevel import BYTE_CHARACTERS, BYTES, FRAME, MODEL, SMALLEST_VOCABULARY, SPECIALS, Pair
from glassgpt.text.chars import CUTTING, CharTokenizer, Unknown
from glassgpt.text.fast import FastBPE

MOST_BYTES = 1 << 25  # four times a vocabulary of 128,000 tokens, the largest in wide use
LARGEST_VOCABULARY = 1 << 18  # as large as any in wide use; how much of that fits is for `jsonfile` to say
MERGES = re.compile(rb'"merges"\s*:\s*\[')
MERGE = re.compile(rb'\s*\[\s*("(?:[^"\\]|\\.)*")\s*,\s*("(?:[^"\\]|\\.)*")\s*(\](?:\s*,)?)')


def save_tokenizer(tokenizer: Tokenizer, path: Path | str) -> None:
    write_text(Path(path), tokenizer.to_json())


def load_tokenizer(path: Path | str, *, unknown: Unknown = "error") -> Tokenizer:
    """The tokenizer in a tokenizer.json."""
    try:
        content = read_limited(Path(path), MOST_BYTES)
    except IsADirectoryError:
        raise TokenizerError(f'"{path}" is a folder; a tokenizer is a file such as tokenizer.json') from None
    except OSError as problem:
        raise TokenizerError(f'cannot read the tokenizer "{path}": {problem.strerror}') from None
    try:
        return _understood(content, unknown)
    except TokenizerError as problem:
        raise TokenizerError(f'"{path}": {problem}') from None


def parse_tokenizer(json_text: str, *, unknown: Unknown = "error") -> Tokenizer:
    """The tokenizer that the text of a tokenizer.json describes; the way back from `to_json`."""
    try:
        return _understood(json_text.encode(), unknown)
    except UnicodeEncodeError:
        raise TokenizerError("no tokenizer.json: it holds half a character (a lone surrogate)") from None


def _understood(json_bytes: bytes, unknown: Unknown) -> Tokenizer:
    content, merges = _parse(json_bytes)
    model = content.get("model")
    kind = model.get("type") if isinstance(model, dict) else None
    if kind == "WordLevel":
        return _read_chars(content, unknown)
    if kind == "BPE":
        return _read_bpe(content, merges)
    raise TokenizerError(f"no tokenizer.json of ours: its model is {_brief(kind)}, and we read WordLevel, BPE")


def _parse(json_bytes: bytes) -> tuple[dict[str, Any], bytes]:
    """Everything as values but the merges, which as values would weigh tenfold: they come as they stand there.

    One `null` takes the place of all that look as they should.
    """
    begin = end = 0
    if found := MERGES.search(json_bytes):
        begin = end = found.end()
        while (end == begin or json_bytes[end - 1 : end] == b",") and (merge := MERGE.match(json_bytes, end)):
            end = merge.end(3)
    instead = b"" if begin == end else b"null" if json_bytes[end - 1 : end] == b"]" else b"null,"
    try:
        content = parse(json_bytes[:begin] + instead + json_bytes[end:])
    except ValueError as problem:
        raise TokenizerError(f"no tokenizer.json: {problem}") from None
    if not isinstance(content, dict):
        raise TokenizerError("no tokenizer.json: its outermost value is not an object")
    return content, json_bytes[begin:end]


def _read_chars(content: dict[str, Any], unknown: Unknown) -> Tokenizer:
    if content.get("pre_tokenizer") != CUTTING:
        raise TokenizerError("its WordLevel model does not cut the text into single characters, as ours does")
    if content.get("normalizer") is not None or content.get("added_tokens"):
        raise TokenizerError("it changes the text or adds tokens of its own, which a character tokenizer does not")
    tokens = _tokens_by_id(content["model"].get("vocab"))
    for token in tokens:
        if len(token) != 1:
            raise TokenizerError(f"its token {_brief(token)} is not a single character")
    return CharTokenizer(tokens, unknown=unknown)


def _read_bpe(content: dict[str, Any], merges: bytes) -> Tokenizer:
    model = content["model"]
    for place, expected in ((content, FRAME), (model, MODEL)):
        for name, ours in expected.items():
            if place.get(name) != ours or type(place.get(name)) is not type(ours):  # False equals 0, and is none
                raise TokenizerError(
                    f"a BPE, but none that `glassgpt tokenizer train` makes: its {name} is {_brief(place.get(name))}"
                )
    tokens = _tokens_by_id(model.get("vocab"))
    if len(tokens) > LARGEST_VOCABULARY:
        raise TokenizerError(f"its vocabulary has {len(tokens)} tokens; we read at most {LARGEST_VOCABULARY}")
    if tokens[:BYTES] != BYTE_CHARACTERS:
        raise TokenizerError(f"a BPE, but none of ours: its first {BYTES} tokens are not the bytes in their order")
    if len(tokens) < SMALLEST_VOCABULARY or tuple(tokens[-len(SPECIALS) :]) != SPECIALS:
        raise TokenizerError(f"a BPE, but none of ours: its last tokens are not {' and '.join(SPECIALS)}")
    return FastBPE(_checked_merges(merges, model.get("merges"), tokens[: -len(SPECIALS)]))


def _checked_merges(merges: bytes, others: Any, tokens: list[str]) -> list[Pair]:
    """Merge after merge makes the next token out of two that are there already.

    `others` is the list that `_parse` left: what in it is no merge stands behind the merges.
    """
    count = sum(1 for _ in MERGE.finditer(merges))
    others = others[bool(merges) :] if isinstance(others, list) else []
    if count + len(others) != len(tokens) - BYTES:
        raise TokenizerError(f"it needs one merge for each of its {len(tokens) - BYTES} tokens of several bytes")
    if others:
        raise TokenizerError(f"its merge {count} is {_brief(others[0])}, not two tokens")
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    pairs: list[Pair] = []
    for new_id, merge in enumerate(MERGE.finditer(merges), BYTES):
        try:
            parts = _text_of(merge[1]), _text_of(merge[2])
        except ValueError as problem:
            raise TokenizerError(f"its merge {new_id - BYTES} is no text: {problem}") from None
        left, right = (ids.get(part, new_id) for part in parts)
        if max(left, right) >= new_id or "".join(parts) != tokens[new_id]:
            made = f"token {new_id}, {_brief(tokens[new_id])}"
            raise TokenizerError(f"its merge {new_id - BYTES} does not make {made}, out of earlier ones")
        pairs.append((left, right))
    return pairs


def _text_of(quoted: bytes) -> str:
    text: str = json.loads(quoted) if b"\\" in quoted else quoted[1:-1].decode()
    return text


def _tokens_by_id(vocabulary: Any) -> list[str]:
    if not isinstance(vocabulary, dict) or not vocabulary:
        raise TokenizerError("its vocabulary is missing or empty")
    for token, token_id in vocabulary.items():
        if type(token_id) is not int:  # True and 1.0 equal 1, and are none
            raise TokenizerError(f"the id of {_brief(token)} is {_brief(token_id)}, not a whole number")
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    if [vocabulary[token] for token in tokens] != list(range(len(tokens))):
        raise TokenizerError(f"its {len(tokens)} ids are not the numbers from 0 to {len(tokens) - 1}, once each")
    return tokens


def _brief(value: object) -> str:
    if isinstance(value, (dict, list)):  # perhaps nested so deeply that showing it fails
        return f"a {type(value).__name__}"
    shown = repr(value[:80] if isinstance(value, str) else value)
    return shown if len(shown) <= 40 else shown[:37] + "..."
