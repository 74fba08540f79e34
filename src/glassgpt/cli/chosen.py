"""Which run, which text, which words: the arguments that several verbs share, and what they mean when left out."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from glassgpt.errors import ConfigError, DataError, RunError, TokenizerError
from glassgpt.runs import find_run
from glassgpt.text.base import Tokenizer
from glassgpt.text.store import load_tokenizer

if TYPE_CHECKING:
    from glassgpt.recovery import Found

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


def chosen_checkpoint(run: str | None) -> Found:
    """The checkpoint that is meant; where another had to serve, because that one is damaged, it is said."""
    from glassgpt.recovery import find_whole

    found = find_whole(chosen_run(run))
    for note in found.notes:
        aside(note)
    return found


def refuse_other_tokenizer(named: str, own: Tokenizer) -> None:
    """A model reads and writes through the tokenizer that it was trained with; another would give it other words."""
    other = load_tokenizer(named)
    if other.digest != own.digest:
        raise TokenizerError(
            f"{named} ({other.kind}, {other.vocab_size} tokens, digest {other.digest[:12]}) is not the tokenizer that "
            f"the model was trained with ({own.kind}, {own.vocab_size} tokens, digest {own.digest[:12]}); "
            f"leave --tokenizer out, for the model carries its own"
        )


def new_file(flag: str, place: str) -> Path:
    """Where a file is to be written; that it cannot lie there is told before the work, not after it."""
    path = Path(place)
    if not place or path.is_dir():
        raise ConfigError(f"{flag} {place or repr(place)} is {'a folder' if place else 'no name'}; name a file")
    if (blocking := next((above for above in path.parents if above.is_file()), None)) is not None:
        raise ConfigError(f"{flag} {place}: {blocking} is a file, and can hold no other; choose another place")
    return path


def refuse_foreign_folder(folder: Path, *, mark: str) -> None:
    """A sweep makes many files, but none between somebody's photos; its folder is known by the file `mark`."""
    new_file("--out", str(folder / mark))
    entries = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    foreign = [name for name in entries if not name.startswith((".", "sweep.")) and not name.endswith(".yaml")]
    if foreign and mark not in entries:
        raise RunError(f"--out {folder} holds {foreign[0]} and no {mark}: it is another's folder; choose another --out")


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
        raise DataError(f"{path} cannot be read: {problem.strerror}; name a file of text") from None


def beginning(chunks: Iterable[str], characters: int) -> str:
    """The first characters of a text that may be longer than memory."""
    pieces: list[str] = []
    for chunk in chunks:
        pieces.append(chunk[:characters])
        characters -= len(pieces[-1])
        if characters <= 0:
            break
    return "".join(pieces)
