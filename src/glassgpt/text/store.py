"""The one tokenizer.json: the format of the `tokenizers` library, for every kind of tokenizer.

A tokenizer read from a file or out of a checkpoint comes through here and is checked piece by piece: the text may be
anybody's. Each kind has its reader; what the file says is written in `to_json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glassgpt.errors import TokenizerError
from glassgpt.files import write_text
from glassgpt.text.base import Tokenizer
from glassgpt.text.bytelevel import BYTE_CHARACTERS, BYTES, FRAME, MODEL, SMALLEST_VOCABULARY, SPECIALS, Pair
from glassgpt.text.chars import CUTTING, CharTokenizer, Unknown
from glassgpt.text.fast import FastBPE

LARGEST_VOCABULARY = 1 << 20  # four times the largest that anybody trains a model with


def save_tokenizer(tokenizer: Tokenizer, path: Path | str) -> None:
    write_text(Path(path), tokenizer.to_json())


def load_tokenizer(path: Path | str, *, unknown: Unknown = "error") -> Tokenizer:
    """The tokenizer in a tokenizer.json."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise TokenizerError(f'"{path}" is no tokenizer.json: not UTF-8 at byte {problem.start}') from None
    except IsADirectoryError:
        raise TokenizerError(f'"{path}" is a folder; a tokenizer is a file such as tokenizer.json') from None
    except OSError as problem:
        raise TokenizerError(f'cannot read the tokenizer "{path}": {problem.strerror}') from None
    try:
        return parse_tokenizer(text, unknown=unknown)
    except TokenizerError as problem:
        raise TokenizerError(f'"{path}": {problem}') from None


def parse_tokenizer(json_text: str, *, unknown: Unknown = "error") -> Tokenizer:
    """The tokenizer that the text of a tokenizer.json describes; the way back from `to_json`."""
    content = _parse(json_text)
    model = content.get("model")
    kind = model.get("type") if isinstance(model, dict) else None
    read = READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        known = ", ".join(READERS)
        raise TokenizerError(f"no tokenizer.json of ours: its model is {_brief(kind)}, and we read {known}")
    return read(content, unknown)


def _parse(json_text: str) -> dict[str, Any]:
    try:
        content = json.loads(json_text)
    except RecursionError:
        raise TokenizerError("no tokenizer.json: nested too deeply") from None
    except json.JSONDecodeError as problem:
        raise TokenizerError(f"no tokenizer.json: not JSON at line {problem.lineno} ({problem.msg})") from None
    except ValueError:  # a number of thousands of digits
        raise TokenizerError("no tokenizer.json: it holds a number that is too long") from None
    if not isinstance(content, dict):
        raise TokenizerError("no tokenizer.json: its outermost value is not an object")
    return content


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


def _read_bpe(content: dict[str, Any], _unknown: Unknown) -> Tokenizer:
    model = content["model"]
    for place, expected in ((content, FRAME), (model, MODEL)):
        for name, ours in expected.items():
            if place.get(name) != ours:
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
    return FastBPE(_checked_merges(model.get("merges"), tokens[: -len(SPECIALS)]))


def _checked_merges(merges: Any, tokens: list[str]) -> list[Pair]:
    """Merge after merge makes the next token out of two that are there already."""
    if not isinstance(merges, list) or len(merges) != len(tokens) - BYTES:
        raise TokenizerError(f"it needs one merge for each of its {len(tokens) - BYTES} tokens of several bytes")
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    pairs: list[Pair] = []
    for new_id, merge in enumerate(merges, BYTES):
        if not isinstance(merge, list) or len(merge) != 2 or not all(isinstance(part, str) for part in merge):
            raise TokenizerError(f"its merge {new_id - BYTES} is {_brief(merge)}, not two tokens")
        left, right = (ids.get(part, new_id) for part in merge)
        if max(left, right) >= new_id or "".join(merge) != tokens[new_id]:
            made = f"token {new_id}, {_brief(tokens[new_id])}"
            raise TokenizerError(f"its merge {new_id - BYTES} does not make {made}, out of earlier ones")
        pairs.append((left, right))
    return pairs


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
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:37] + "..."


READERS: dict[str, Callable[[dict[str, Any], Unknown], Tokenizer]] = {"WordLevel": _read_chars, "BPE": _read_bpe}
