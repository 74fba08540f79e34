"""What `crash_test.py` and `power_test.py` disturb: trainings and preparations, each in a folder of its own.

A scenario lays out what was there before, acts, goes on after the disturbance as a person would, and says what is
wrong with what lies there then. How it is disturbed is not known here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import glassgpt.lab.picture
import glassgpt.training.clock
import glassgpt.training.samples
from accidents.broken_disk import Unsynced, working_on
from glassgpt.config import DataConfig
from glassgpt.data.prepare import prepare
from glassgpt.files import write_text
from glassgpt.runs import RunFolder
from glassgpt.training.events import Event

STEPS = 6
TEXTS = {
    "owl.txt": "The owl flew over the sea, and the sea was calm. «Näin», said the owl.\n" * 20,
    "mice.txt": "".join(f"{number} little mice sat down to spin, puss passed by.\n" for number in range(30)),
}
SIZES: dict[str, Any] = {
    "n_layers": 1, "d_model": 8, "n_heads": 1, "seq_len": 8, "max_seq_len": 8, "batch_size": 4, "optimizer": "adamw",
    "bias": False, "tie_weights": True, "dropout": 0.1, "learning_rate": 0.01, "warmup_steps": 2, "eval_batches": 1,
    "max_steps": STEPS, "save_every": 2, "eval_every": 2, "log_every": 1, "sample_every": 3,
    "device": "cpu", "precision": "fp32", "threads": 1, "fallback": [],
}  # fmt: skip
INSIDE = ("meta.json", "tokenizer.json", "train.bin", "val.bin")  # of a prepared text

Told = Callable[[Event], object]


class Scenario:
    """One thing that a person does. All of it happens in the current folder, but for the texts."""

    name: str

    def __init__(self, world: Path) -> None:
        """The folder that holds the texts, and what was there before."""
        self.world = world
        self.before = world / type(self).__name__
        self.before.mkdir()
        with living_in(self.before, world), working_on(Unsynced()):
            self.lay()
        self.undisturbed = world / f"{type(self).__name__} undisturbed"
        with self.at_home(self.undisturbed), working_on(Unsynced()):
            self.act(silent)
            self.truth = self.left()

    @contextlib.contextmanager
    def at_home(self, home: Path) -> Iterator[None]:
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self.before, home)
        with living_in(home, self.world):
            yield

    def lay(self) -> None: ...

    def act(self, told: Told) -> None:
        raise NotImplementedError

    def go_on(self) -> None:
        """What a person types next."""
        raise NotImplementedError

    def left(self) -> dict[str, str]:
        """What lies there in the end, each with a digest of what must be equal in it."""
        raise NotImplementedError

    def torn(self, saved_step: int) -> list[str]:
        """What is wrong at once, before anybody goes on; so much was said to be saved."""
        raise NotImplementedError

    def faults(self, excused: Iterable[str] = ()) -> list[str]:
        """What is not as if nothing had happened; a copy that was said to be missing may miss."""
        left, excused = self.left(), set(excused)
        names = sorted({*left, *self.truth} - excused)
        return [f"{name} is not the same" for name in names if left.get(name) != self.truth.get(name)]

    def state(self) -> frozenset[tuple[str, str]]:
        """All that the next start could see; of drafts only that they are there."""
        files = [path for path in files_in(Path()) if path.suffix != ".lock"]
        aside = {(str(path.parent), "aside") for path in files if any(map(is_aside, path.parts))}
        return frozenset(aside | {(str(path), sha256_of(path)) for path in files if not any(map(is_aside, path.parts))})


class Preparing(Scenario):
    name = "a text prepared, characters"
    tokenizer = "char"
    vocab_size: int | None = None

    def act(self, told: Told) -> None:
        config = DataConfig(data=tuple(str(self.world / name) for name in TEXTS), tokenizer=self.tokenizer)
        prepare(config, vocab_size=self.vocab_size, cache=Path("cache"))

    def go_on(self) -> None:
        self.act(silent)

    def left(self) -> dict[str, str]:
        """Beside the cache a draft stays for a while. With the tokenizer that came of it a text has another key."""
        paths = [path for path in files_in(Path()) if path.suffix != ".lock" and not is_aside(path.name)]
        left = {path.name: sha256_of(path) for path in paths if not any(map(is_aside, path.parts))}
        return left | {path.name: "" for path in Path("cache").glob("prepared/.*")}

    def torn(self, saved_step: int) -> list[str]:
        """A folder that has its name is whole, and so is a tokenizer's file."""
        wrong = [f"{name} is torn" for name, digest in self.left().items() if digest != self.truth.get(name, digest)]
        folders = [path for path in Path("cache/prepared").glob("*-*") if path.is_dir() and not is_aside(path.name)]
        return wrong + [f"{folder} is not whole" for folder in folders if len(list(folder.iterdir())) != len(INSIDE)]


class PreparingPairs(Preparing):
    name = "a text prepared, byte pairs, with a tokenizer file"
    tokenizer, vocab_size = "pairs.json", 300


@contextlib.contextmanager
def a_world(folder: Path) -> Iterator[Path]:
    """The texts, short samples, a picture that is drawn at once, and a clock that stands still: all bytes repeat."""
    for name, text in TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    samples, picture = glassgpt.training.samples, glassgpt.lab.picture
    clock: Any = glassgpt.training.clock
    before = samples.SAMPLE_TOKENS, picture._drawn, clock.time
    samples.SAMPLE_TOKENS, picture._drawn, clock.time = 8, _drawn_at_once, _Stopped()
    try:
        yield folder
    finally:
        samples.SAMPLE_TOKENS, picture._drawn, clock.time = before


@contextlib.contextmanager
def living_in(home: Path, world: Path) -> Iterator[None]:
    where, cache = Path.cwd(), os.environ.get("GLASSGPT_CACHE")
    os.environ["GLASSGPT_CACHE"] = str(world / "cache")
    os.chdir(home)
    try:
        yield
    finally:
        os.chdir(where)
        os.environ.pop("GLASSGPT_CACHE")
        if cache is not None:
            os.environ["GLASSGPT_CACHE"] = cache


class _Stopped:
    def perf_counter(self) -> float:
        return 0.0


def _drawn_at_once(folder: Path) -> Path:
    run = RunFolder(folder)
    write_text(run.picture, "a picture of " + run.log.read_text(encoding="utf-8"))
    return run.picture


def silent(event: Event) -> None: ...


def is_aside(name: str) -> bool:
    return name.startswith(".")


def files_in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
