"""The one tokenizer.json: the format of the `tokenizers` library, for every kind of tokenizer.

A tokenizer read from a file or out of a checkpoint comes through here and is checked piece by piece: the text may be
anybody's. Byte-level BPE will get its reader beside the character one; what the file says is written in `to_json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glassgpt.errors import TokenizerError
from glassgpt.files import write_text
from glassgpt.text.base import Tokenizer
from glassgpt.text.chars import CUTTING, CharTokenizer, Unknown


def save_tokenizer(tokenizer: Tokenizer, path: Path | str) -> None:
    write_text(Path(path), tokenizer.to_json())


def load_tokenizer(path: Path | str, *, unknown: Unknown = "error") -> Tokenizer:
    """The tokenizer in a tokenizer.json."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise TokenizerError(f'"{path}" is no tokenizer.json: not UTF-8 at byte {problem.start}') from None
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
    vocabulary = content["model"].get("vocab")
    if not isinstance(vocabulary, dict) or not vocabulary:
        raise TokenizerError("its vocabulary is missing or empty")
    characters = sorted(vocabulary, key=lambda character: _checked_id(vocabulary, character))
    if [vocabulary[character] for character in characters] != list(range(len(characters))):
        raise TokenizerError(
            f"its {len(characters)} ids are not the numbers from 0 to {len(characters) - 1}, once each"
        )
    return CharTokenizer(characters, unknown=unknown)


def _checked_id(vocabulary: dict[str, Any], token: str) -> int:
    token_id = vocabulary[token]
    if type(token_id) is not int:  # True and 1.0 equal 1, and are none
        raise TokenizerError(f"the id of {_brief(token)} is {_brief(token_id)}, not a whole number")
    if len(token) != 1:
        raise TokenizerError(f"its token {_brief(token)} is not a single character")
    return token_id


def _brief(value: object) -> str:
    if isinstance(value, (dict, list)):  # perhaps nested so deeply that showing it fails
        return f"a {type(value).__name__}"
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:37] + "..."


READERS: dict[str, Callable[[dict[str, Any], Unknown], Tokenizer]] = {"WordLevel": _read_chars}
