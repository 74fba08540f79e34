"""Which run, which text, which words: the arguments that several verbs share, and what they mean when left out."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from glassgpt.errors import DataError, TokenizerError
from glassgpt.runs import RunFolder, find_run
from glassgpt.text.base import Tokenizer
from glassgpt.text.store import load_tokenizer

RUN_HELP = "a run folder or a checkpoint file; left out, the newest run"


def aside(text: str) -> None:
    """For the person, not for the pipe: standard output holds only what was asked for."""
    print(text, file=sys.stderr, flush=True)


def chosen_run(run: str | None) -> Path:
    """The run folder or checkpoint that is meant; said aloud when it was not named."""
    path = find_run(run)
    if run is None:
        aside(f"the newest run: {path}")
    return path


def chosen_checkpoint(run: str | None) -> Path:
    path = chosen_run(run)
    return RunFolder(path).checkpoint() if path.is_dir() else path


def refuse_other_tokenizer(named: str, own: Tokenizer) -> None:
    """A model reads and writes through the tokenizer that it was trained with; another would give it other words."""
    other = load_tokenizer(named)
    if other.digest != own.digest:
        raise TokenizerError(
            f"{named} ({other.kind}, {other.vocab_size} tokens, digest {other.digest[:12]}) is not the tokenizer that "
            f"the model was trained with ({own.kind}, {own.vocab_size} tokens, digest {own.digest[:12]}); "
            f"leave --tokenizer out, for the model carries its own"
        )


def chosen_text(text: str) -> str:
    """The words on the command line, or standard input for a dash."""
    return read_input() if text == "-" else text


def read_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise DataError(f"standard input is not UTF-8 at byte {problem.start}; convert it first") from None


def read_text_file(path: str) -> str:
    """A whole small file, such as a prompt."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise DataError(f"{path} is not UTF-8 at byte {problem.start}; convert it first") from None
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror}") from None


def beginning(chunks: Iterable[str], characters: int) -> str:
    """The first characters of a text that may be longer than memory."""
    pieces: list[str] = []
    for chunk in chunks:
        pieces.append(chunk[:characters])
        characters -= len(pieces[-1])
        if characters <= 0:
            break
    return "".join(pieces)
