"""Every mistake that a user can make, as one tree.

A message says what is wrong, with the values, and the way out, in one line.
The command line prints it and leaves with code 2; a library user catches
`GlassgptError`. Bugs of our own stay `assert`s and tracebacks.

    GlassgptError
    ├── ConfigError       an unknown key, an impossible value
    ├── DataError         text that is missing, empty, too short, not text
    │   └── DownloadError a named text that could not be fetched whole
    ├── TokenizerError    a tokenizer.json that is none, or not the model's own
    │   └── UnknownCharacterError
    ├── CheckpointError   a file or folder that is damaged, or no checkpoint
    ├── RunError          a run folder that is taken, missing or of another run
    ├── DivergenceError   a loss that is no longer a number
    ├── TooLargeError     a model that does not fit into the memory
    ├── BusyError         an engine whose queue is full
    └── MissingExtraError a package that an optional feature needs
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GlassgptError(Exception):
    """What is wrong, with the values, and the way out."""


class ConfigError(GlassgptError):
    pass


class DataError(GlassgptError):
    pass


class DownloadError(DataError):
    """`brief` is the reason in a few words, for the line that says what is taken instead."""

    def __init__(self, message: str, *, brief: str = "it cannot be fetched") -> None:
        super().__init__(message)
        self.brief = brief


class TokenizerError(GlassgptError):
    pass


class UnknownCharacterError(TokenizerError):
    """A character that the tokenizer has never seen."""

    def __init__(self, character: str, position: int) -> None:
        self.character, self.position = character, position
        super().__init__(
            f"character {character!r} (U+{ord(character):04X}) at position {position} is not in the tokenizer's "
            f"vocabulary; leave it out, or choose --unknown skip or --unknown replace"
        )

    def __reduce__(self) -> tuple[type[UnknownCharacterError], tuple[str, int]]:
        return type(self), (self.character, self.position)


class CheckpointError(GlassgptError):
    pass


class RunError(GlassgptError):
    pass


class DivergenceError(GlassgptError):
    pass


class TooLargeError(GlassgptError):
    pass


class BusyError(GlassgptError):
    pass


class MissingExtraError(GlassgptError):
    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package {package!r}; bring it with: pip install 'glassgpt[{extra}]'")


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether this is how torch or Python says that memory is full: by a kind of its own, or in words only."""
    kinds = {kind.__name__ for kind in type(problem).__mro__}  # by name: torch is not imported for this
    if kinds & {"MemoryError", "OutOfMemoryError"}:
        return True
    words = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")  # the processor, MPS, cuBLAS
    return isinstance(problem, RuntimeError) and any(word in str(problem) for word in words)


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """`did_you_mean("d_modle", ["d_model"]) == "; did you mean d_model?"`, or nothing when nothing is near."""
    near = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
