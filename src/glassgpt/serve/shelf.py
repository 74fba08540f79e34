"""The models that are served, by name: a run, a checkpoint file, or all runs of a folder.

A name is looked up among those that were found; no path is ever made of what a client sends. A model is read from
disk at its first use, and kept. What computes with them is `worker.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from glassgpt.config import Weights
from glassgpt.errors import RunError, did_you_mean
from glassgpt.library import LanguageModel, load
from glassgpt.runs import RUNS, RunFolder, find_run
from glassgpt.sampling.engine import Engine


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model in memory, with the engine that writes with it."""

    name: str
    lm: LanguageModel
    engine: Engine


class Shelf:
    def __init__(self, place: str | None, *, slots: int, queue: int, device: str, weights: Weights) -> None:
        self.place, self.slots, self.queue, self.device, self.weights = place, slots, queue, device, weights
        self._loaded: dict[str, Served] = {}
        self._lock = threading.Lock()
        if not self.found():
            raise RunError(f"{place or RUNS} holds no run with a checkpoint; train one first: glassgpt train")

    def found(self) -> Mapping[str, Path]:
        """Every model by name, the newest first; looked up anew, for a run may begin while the server runs."""
        folder = RUNS if self.place is None else Path(self.place)
        if self.place is not None and (not folder.is_dir() or RunFolder(folder).is_run()):
            path = find_run(self.place)
            return {path.resolve().stem if path.is_file() else path.resolve().name: path}
        runs = [path for path in folder.glob("*") if RunFolder(path).has_checkpoint()]
        return {path.name: path for path in sorted(runs, key=_changed, reverse=True)}

    def loaded(self) -> list[Served]:
        return list(self._loaded.values())

    def have(self, name: str) -> Served | None:
        """The model of this name, where it is in memory already."""
        return self._loaded.get(name)

    def take(self, name: str) -> Served:
        """The model of this name; the first time it takes as long as reading the file does."""
        if (loaded := self.have(name)) is not None:
            return loaded
        found = self.found()
        if name not in found:
            raise UnknownModelError(f"there is no model {name!r}{did_you_mean(name, found)}; see GET /v1/models")
        with self._lock:
            if name not in self._loaded:
                lm = load(found[name], device=self.device)  # which says when it had to take another checkpoint
                engine = Engine(lm.writer, lm.tokenizer, slots=self.slots, queue=self.queue, weights=self.weights)
                engine.slots.warm()
                self._loaded[name] = Served(name=name, lm=lm, engine=engine)
            return self._loaded[name]


class UnknownModelError(RunError):
    pass


def _changed(path: Path) -> int:
    return RunFolder(path).checkpoint().stat().st_mtime_ns
