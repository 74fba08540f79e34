"""The models that are served, by name: a run, a checkpoint file, or all runs of a folder.

A name is looked up among those that were found; no path is ever made of what a client sends. A model is read from
disk at its first use, and again when its file has changed, for a run may train on while it is being talked to. The
few that were used last are kept, and as many again that still write. What computes with them is `worker.py`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from glassgpt.config import Weights
from glassgpt.errors import BusyError, RunError, did_you_mean
from glassgpt.library import LanguageModel, load
from glassgpt.runs import RUNS, RunFolder, find_run
from glassgpt.sampling.engine import Engine

MOST_LOADED = 6  # of a model of 10 million parameters each takes some 150 MB, with room for 16 texts
Stamp = tuple[int, int]  # when a file was written, and its size


@dataclass(frozen=True, kw_only=True, eq=False)
class Served:
    """A model in memory, with the engine that writes with it."""

    name: str
    path: Path
    stamp: Stamp | None
    lm: LanguageModel
    engine: Engine

    @property
    def fingerprint(self) -> str:
        """Another one, where another file answers under the same name."""
        return f"step-{self.lm.checkpoint.step}-{hashlib.sha256(repr(self.stamp).encode()).hexdigest()[:12]}"


class Shelf:
    def __init__(self, place: str | None, *, slots: int, queue: int, device: str, weights: Weights) -> None:
        self.place, self.slots, self.queue, self.device, self.weights = place, slots, queue, device, weights
        self._loaded: dict[str, Served] = {}  # the one that was used last stands last
        self._leaving: list[Served] = []  # superseded or put away, and still writing
        self._loading, self._lock = threading.Lock(), threading.Lock()
        if not self.found():
            raise RunError(f"{place or RUNS} holds no run with a checkpoint; train one first: glassgpt train")

    def runs(self) -> Mapping[str, RunFolder]:
        """Every run by name, the newest first, with a checkpoint or not yet; looked up anew, for more may begin."""
        if self._holds_many:
            runs = [RunFolder(path) for path in self._folder.glob("*") if RunFolder(path).is_run()]
            return {run.path.name: run for run in sorted(runs, key=_changed, reverse=True)}
        path = find_run(self.place).resolve()
        run = RunFolder(path.parent if path.is_file() else path)
        return {run.path.name: run} if run.is_run() else {}

    def found(self) -> Mapping[str, Path]:
        """Every model by name: of a run its best as the run is called; then NAME@last, and NAME@200 of a kept step."""
        if not self._holds_many and (path := find_run(self.place)).is_file():
            return {path.resolve().stem: path}
        runs = {name: run for name, run in self.runs().items() if run.has_checkpoint()}
        best = {name: run.path for name, run in runs.items()}
        others = {f"{name}@last": run.last for name, run in runs.items() if run.last.is_file()}
        others |= {f"{name}@{step}": path for name, run in runs.items() for step, path in run.kept().items()}
        return best | {name: path for name, path in others.items() if name not in best}  # a run may be called a@last

    @property
    def _folder(self) -> Path:
        return RUNS if self.place is None else Path(self.place)

    @property
    def _holds_many(self) -> bool:
        return self.place is None or (self._folder.is_dir() and not RunFolder(self._folder).is_run())

    def loaded(self) -> list[Served]:
        with self._lock:
            return list(self._loaded.values())

    def engines(self) -> list[Engine]:
        """All that may have something to do."""
        with self._lock:
            self._leaving = [served for served in self._leaving if served.engine.in_flight]
            return [served.engine for served in (*self._loaded.values(), *self._leaving)]

    def have(self, name: str) -> Served | None:
        """The model of this name, where it is in memory already, and still the one on the disk."""
        with self._lock:
            served = self._loaded.get(name)
            if served is None or _stamp(served.path) not in {served.stamp, None}:
                return None
            self._loaded[name] = self._loaded.pop(name)
            return served

    def take(self, name: str) -> Served:
        """The model of this name; the first time it takes as long as reading the file does."""
        if (loaded := self.have(name)) is not None:
            return loaded
        found = self.found()
        if name not in found:
            raise UnknownModelError(f"there is no model {name!r}{did_you_mean(name, found)}; see GET /v1/models")
        with self._loading:
            return self.have(name) or self._load(name, found[name])

    def keep(self, served: Served) -> None:
        """Somebody writes with it: if it was put away meanwhile, it stays until that is done."""
        with self._lock:
            if self._loaded.get(served.name) is not served and served not in self._leaving:
                self._leaving.append(served)

    def _load(self, name: str, path: Path) -> Served:
        if len(self.engines()) >= 2 * MOST_LOADED:
            raise BusyError("too many models are being written with at once; come back when some texts are done")
        stamp = _stamp(path)  # before reading: a newer file is then read again, and not missed
        lm = load(path, device=self.device)  # which says when it had to take another checkpoint
        engine = Engine(lm.writer, lm.tokenizer, slots=self.slots, queue=self.queue, weights=self.weights)
        engine.slots.warm()
        served = Served(name=name, path=path, stamp=stamp, lm=lm, engine=engine)
        with self._lock:
            put_away = [self._loaded.pop(name)] if name in self._loaded else []
            self._loaded[name] = served
            put_away += [self._loaded.pop(oldest) for oldest in list(self._loaded)[:-MOST_LOADED]]
            self._leaving += put_away
        return served


class UnknownModelError(RunError):
    pass


def _stamp(path: Path) -> Stamp | None:
    """None, where it is gone: who has it in memory may go on with it."""
    try:
        stat = (path if path.is_file() else RunFolder(path).checkpoint()).stat()
    except (OSError, RunError):
        return None
    return stat.st_mtime_ns, stat.st_size


def _changed(run: RunFolder) -> int:
    """When it last wrote something; its log is written to more often than its checkpoints."""
    try:
        log = run.log.stat().st_mtime_ns
    except OSError:
        log = 0
    stamp = _stamp(run.path)
    return max(log, stamp[0] if stamp else 0)
