"""A process that opens what others sent, in the ways that people do, and says what came of it.

It reads lines `KIND PATH` and answers each with one line of JSON. `hostile_test.py` starts it, watches it, and starts
it again when it dies.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pty.spawn",
             "socket.connect", "os.remove", "os.rename", "shutil.rmtree", "os.mkdir", "ctypes.dlopen")  # fmt: skip
executed: list[str] = []
trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None) if os.name == "posix" else lambda _: None


def watch(event: str, given: tuple[Any, ...]) -> None:
    """What Python tells of itself: nothing that opens a file has a reason for these, or to write."""
    writes = event == "open" and isinstance(given[1], str) and any(sign in given[1] for sign in "wax+")
    if event in FORBIDDEN or (writes and given[0] != "/proc/self/clear_refs"):
        executed.append(f"{event} {given[:1]}")


def open_checkpoint(path: Path) -> None:
    from glassgpt.checkpoint import load_checkpoint
    from glassgpt.cli.info import facts_of, origins_of
    from glassgpt.library import LanguageModel
    from glassgpt.settings import assemble
    from glassgpt.training.metrics import Progress

    checkpoint = load_checkpoint(path)
    model, tokenizer = checkpoint.model(), checkpoint.tokenizer()
    list(facts_of(path, checkpoint))
    list(origins_of(checkpoint))
    assemble(checkpoint.settings)
    Progress.from_metrics(checkpoint.metrics)
    LanguageModel(model=model, tokenizer=tokenizer, checkpoint=checkpoint).generate(max_new_tokens=2)


def open_tokenizer(path: Path) -> None:
    from glassgpt.text.store import load_tokenizer

    tokenizer = load_tokenizer(path)
    assert tokenizer.digest
    tokenizer.decode(range(min(tokenizer.vocab_size, 300)))
    tokenizer.encode("The owl")


def open_config(path: Path) -> None:
    from glassgpt.settings import resolve, to_yaml

    settings = resolve(file=path)
    to_yaml(settings.config, settings.origins)


def open_tokens(path: Path) -> None:
    from glassgpt.config import DataConfig
    from glassgpt.data.tokenfiles import read_folder

    nowhere: Any = None
    prepared = read_folder(path, DataConfig(), nowhere)
    prepared.tokenizer.decode(prepared.val_ids[:100].tolist())


OPENERS = {"checkpoint": open_checkpoint, "tokenizer": open_tokenizer, "config": open_config, "tokens": open_tokens}


def main() -> None:
    """Warm up on whole files first, so that what is imported late is not counted as memory."""
    for line in sys.stdin:
        kind, _, path = line.rstrip("\n").partition(" ")
        print(json.dumps(attempt(kind, Path(path))), flush=True)


def attempt(kind: str, path: Path) -> dict[str, Any]:
    from glassgpt.errors import GlassgptError

    executed.clear()
    gc.collect()
    gc.freeze()  # what is left will stay, and need not be looked at each time
    trim(0)  # what was freed goes back to the system: it would hide what this file takes
    before = memory_bytes("VmRSS", forget=True)
    began = time.perf_counter()
    try:
        OPENERS[kind](path)
        answer = {"result": "sound", "said": ""}
    except GlassgptError as problem:
        answer = {"result": "refused", "said": str(problem)}
    except BaseException as problem:
        place = problem.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
        answer = {"result": "crash", "said": f"{type(problem).__name__}: {str(problem)[:300]} at {where}"}
    return answer | {
        "seconds": time.perf_counter() - began,
        "memory": max(0, memory_bytes("VmHWM") - before),
        "executed": list(executed),
    }


def memory_bytes(name: str, *, forget: bool = False) -> int:
    """From Linux's own books; `forget` begins a new peak."""
    if forget:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith(name + ":"))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    warnings.simplefilter("ignore")
    import torch  # noqa: F401 (what it takes is not the file's)

    sys.addaudithook(watch)
    main()
