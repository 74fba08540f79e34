"""A small GPT you can see through.

lm = glassgpt.load("runs/tales")
print(lm.generate("Once upon a time"))

What stands here is in `library.py`, and arrives when it is first used: importing the package is free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glassgpt.library import LanguageModel, Run, load, resume, train

    __version__: str

__all__ = ["LanguageModel", "Run", "__version__", "load", "resume", "train"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in __all__:
        from glassgpt import library

        return getattr(library, name)
    raise AttributeError(f"module 'glassgpt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("glassgpt")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"
