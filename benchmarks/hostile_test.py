"""Files that were made to harm: is anything of them run, does anything crash, and is time or memory used without bound?

A catalogue of files made by hand, then good files (checkpoints in both formats, tokenizers, a configuration, prepared
tokens) changed at random. Each is opened in another process as people open it. It must be refused in one line, or be
sound: loaded, described, and made to write. Never may anything be run, two seconds pass, or the memory grow by more
than the file's size and 64 MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accidents.hostile_cases import Case, Victims, crafted, written
from accidents.hostile_changes import changed, meta_signed
from accidents.victims import make_victims
from common import ROOT
from promises import Promise, told

LONGEST_S, HANGS_S, SPARE_BYTES = 2.0, 20.0, 64 << 20
KINDS = {"char.json": "tokenizer", "bpe.json": "tokenizer", "config.yaml": "config", "tokens": "tokens"}


class Worker:
    """The process that opens files; when it dies or hangs, another takes its place."""

    def __init__(self, victims: Victims) -> None:
        self.victims = victims
        self._start()

    def _start(self) -> None:
        paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
        self.process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks" / "accidents" / "hostile_worker.py")], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        for name, path in self.victims.items():  # whatever is imported late is imported now
            answer = self._ask(KINDS.get(name, "checkpoint"), path, patience_s=120)
            if answer["result"] != "sound":
                sys.exit(f"{name} was not spoilt, and is {answer['result']}: {answer['said']}")

    def open(self, kind: str, path: Path) -> dict[str, Any]:
        answer = self._ask(kind, path, patience_s=HANGS_S)
        if answer["result"] == "died":
            self.close()
            self._start()
        return answer

    def _ask(self, kind: str, path: Path, *, patience_s: float) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{kind} {path}\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], patience_s)
        line = self.process.stdout.readline() if ready else ""
        died = {"result": "died", "said": "", "seconds": 0.0 if ready else patience_s, "memory": 0, "executed": []}
        return dict(json.loads(line)) if line else died

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@dataclass
class Tally:
    tried: int = 0
    executed: int = 0
    crashed: int = 0
    unbounded: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    largest: int = 0  # bytes above the file's own
    complaints: list[str] = field(default_factory=list)

    def add(self, name: str, size: int, answer: dict[str, Any], *, ran: bool) -> None:
        self.tried += 1
        self.kinds[answer["result"]] += 1
        self.slowest_s = max(self.slowest_s, answer["seconds"])
        self.largest = max(self.largest, answer["memory"] - size)
        ran = ran or bool(answer["executed"])
        crashed = answer["result"] in {"died", "crash"} or "\n" in answer["said"]
        unbounded = answer["seconds"] > LONGEST_S or answer["memory"] > size + SPARE_BYTES
        self.executed, self.crashed = self.executed + ran, self.crashed + crashed
        self.unbounded += unbounded
        if ran or crashed or unbounded:
            figures = f"{answer['seconds']:.2f} s, {answer['memory'] >> 20} MiB for {size >> 20}"
            self.complaints.append(f"{name}: {answer['result']} ({figures}) {answer['said']} {answer['executed']}")


def mutations(victims: Victims, count: int, seed: int) -> Iterator[Case]:
    """Good files spoilt; which and how is a function of the seed and the number."""
    names = [*(name for name in victims if name != "tokens"), "train.bin", "val.bin", "meta.json", "tokenizer.json"]
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        name = names[number % len(names)]
        if name in victims:
            content = changed(name, victims[name].read_bytes(), rng)
            yield Case(f"change {number} of {name}", KINDS.get(name, "checkpoint"), written(content))
            continue
        whole = (victims["tokens"] / name).read_bytes()
        is_signed = name == "meta.json" and rng.random() < 0.6
        content = meta_signed(whole, rng) if is_signed else changed(name, whole, rng)
        yield Case(f"change {number} of {name}", "tokens", _folder_with(victims["tokens"], name, content))


def _folder_with(source: Path, name: str, content: bytes) -> Any:
    def make(path: Path) -> None:
        shutil.copytree(source, path)
        (path / name).write_bytes(content)

    return make


def attack(folder: Path, cases: Iterator[Case], victims: Victims, canary: Path) -> Tally:
    """Each case is made, opened and removed."""
    tally, worker, place = Tally(), Worker(victims), folder / "sent"
    try:
        for case in cases:
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            place.unlink(missing_ok=True)
            case.make(place)
            size = place.stat().st_size if place.is_file() else 0
            tally.add(case.name, size, worker.open(case.kind, place), ran=canary.exists())
            canary.unlink(missing_ok=True)
    finally:
        worker.close()
    return tally


def run(folder: Path, *, count: int, seed: int, large: bool = True) -> Tally:
    """The catalogue and so many changes."""
    victims, canary = make_victims(folder / "victims"), folder / "canary"

    def cases() -> Iterator[Case]:
        yield from crafted(victims, canary, large=large)
        yield from mutations(victims, count, seed)

    return attack(folder, cases(), victims, canary)


def promises(tally: Tally, *, seed: int, seconds: float) -> list[Promise]:
    bounds = f"under 2 s (slowest {tally.slowest_s:.1f}) and 64 MiB above the file (most {tally.largest >> 20})"
    failures = {
        "mutated model files: nothing in them was run": tally.executed,
        "mutated model files: nothing crashed": tally.crashed,
        bounds: tally.unbounded,
    }
    return [
        Promise(promise=promise, tried=tally.tried, failed=failed, seed=seed, seconds=round(seconds, 1))
        for promise, failed in failures.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=10_000, help="changes of good files (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the changes (default: %(default)s)")
    asked = parser.parse_args()
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tally = run(Path(folder), count=asked.mutations, seed=asked.seed)
    for complaint in tally.complaints[:50]:
        print(complaint)
    print(f"{dict(tally.kinds)}; slowest {tally.slowest_s:.2f} s, {tally.largest / (1 << 20):.1f} MiB above the file")
    return told("hostile_test", promises(tally, seed=asked.seed, seconds=time.perf_counter() - begin))


if __name__ == "__main__":
    sys.exit(main())
