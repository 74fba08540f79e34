"""The command `glassgpt`: find the verb, call it, and turn whatever goes wrong into one line.

A verb is a module of this folder with `run(argv) -> exit code`, imported only when it is called:
so the help answers at once, before torch is in memory.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence

import glassgpt
from glassgpt.errors import ConfigError, GlassgptError, did_you_mean, is_out_of_memory
from glassgpt.files import NO_ROOM
from glassgpt.training.signals import EndedBySignals

VERBS = {
    "train": "train a model on your text, or on the built-in stories",
    "sample": "let a model write",
    "eval": "measure a model, beside what else reaches on the same text",
    "inspect": "look inside a model while it reads a text",
    "info": "what a run or a checkpoint is",
    "bigram": "from the bigram model to the GPT, step by step",
    "plot": "draw the curves of runs",
    "bench": "how fast this machine trains and writes",
    "data": "list, prepare and look at texts",
    "tokenizer": "make and try tokenizers",
    "serve": "let models answer over HTTP, as OpenAI's do",
    "sweep": "search for good settings",
    "doctor": "what this machine has, and what will be chosen",
}
HELP = """\
glassgpt - a small GPT you can see through

usage: glassgpt VERB [...]        glassgpt VERB --help tells all about one

{verbs}

examples:
  glassgpt train                            a first model, of built-in stories; about a minute
  glassgpt train book.txt                   a model of your own text
  glassgpt train --preset mini_gpt          a complete setting by name
  glassgpt sample --prompt "Once upon"      the newest run writes
  glassgpt eval                             is it any good?

A run is a folder such as runs/tales; where a command takes one and none is given, the newest is meant.
"""
OUT_OF_MEMORY = (
    "out of memory: {what}; take a smaller --batch-size, a larger --grad-accum (the same batch in smaller parts), "
    "--gradient-checkpointing, a shorter --seq-len or a smaller model"
)


def main(argv: Sequence[str] | None = None) -> int:
    return guarded(lambda: _dispatch(list(sys.argv[1:] if argv is None else argv)), owns_process=argv is None)


def guarded(work: Callable[[], int], *, owns_process: bool = False) -> int:
    """Exit codes: 0 done, 2 a mistake (one line on stderr), 130 and 143 stopped by Ctrl-C or SIGTERM."""
    with EndedBySignals(owns_process=owns_process) as ending:
        _speak_utf8()
        code = _code_of(work, ending)
        return ending.code if ending.number and code != ending.code else code


def _code_of(work: Callable[[], int], ending: EndedBySignals) -> int:
    try:
        code = work()
        sys.stdout.flush()  # a closed pipe should be noticed here, not in the interpreter's last breath
    except GlassgptError as problem:
        return _complain(str(problem))
    except KeyboardInterrupt:
        return _stopped(ending.code if ending.number else 130)
    except BrokenPipeError:
        _close_quietly()
        return 141  # what a shell reports for a program that a closed pipe ended
    except SystemExit as leaving:  # argparse has printed the help
        return int(leaving.code or 0)
    except Exception as problem:
        if ending.number:  # whatever became of it: a library that was being imported reports a failed import
            return _stopped(ending.code)
        if message := _outside_trouble(problem):
            return _complain(message)
        raise
    return code


def _stopped(code: int) -> int:
    print("\nglassgpt: stopped at once; what was saved before stands", file=sys.stderr)
    return code


def _speak_utf8() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _dispatch(argv: list[str]) -> int:
    verb = argv.pop(0) if argv else "--help"
    if verb in {"--help", "-h", "help"}:
        if argv:
            return _dispatch([argv[0], "--help"])
        print(HELP.format(verbs="\n".join(f"  {name:10} {what}" for name, what in VERBS.items())), end="")
        return 0
    if verb in {"--version", "-V"}:
        print(f"glassgpt {glassgpt.__version__}")
        return 0
    if verb not in VERBS:
        kind = "flag" if verb.startswith("-") else "verb"
        raise ConfigError(f"unknown {kind} {verb!r}{did_you_mean(verb, VERBS)}; verbs are: {', '.join(VERBS)}")
    return int(importlib.import_module(f"glassgpt.cli.{verb}").run(argv))


def _complain(message: str) -> int:
    sys.stdout.flush()
    print(f"glassgpt: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _outside_trouble(problem: Exception) -> str | None:
    """One line for what the machine refuses: memory, disks, permissions. Our own bugs stay tracebacks."""
    if is_out_of_memory(problem):
        what = str(problem).split(". ", maxsplit=1)[0] or "nothing more is free"
        return OUT_OF_MEMORY.format(what=what)
    if isinstance(problem, OSError) and problem.errno in NO_ROOM:
        what = f"{problem.filename}: {problem.strerror}" if problem.filename else "the disk is full"
        return f"{what}; make room and go on, a run with --resume: what was saved before stands"
    if isinstance(problem, FileExistsError | NotADirectoryError):
        return f"{problem.filename} is a file, where a folder is needed; choose another place"
    if isinstance(problem, OSError) and problem.filename is not None:
        return f"{problem.filename}: {problem.strerror}"
    if isinstance(problem, ModuleNotFoundError) and problem.name and not problem.name.startswith("glassgpt"):
        missing = problem.name.split(".")[0]
        return (
            f"the package {missing!r} is missing; bring it with: pip install -r requirements.txt, or with: make install"
        )
    return None


def _close_quietly() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
