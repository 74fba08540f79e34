"""Runs watched while they train: what their files say, looked at once a second for all who follow.

A look costs a few questions for time and size; a file is read only where they differ, and seldom where reading takes
long. Followers keep no queue: each remembers how far it was told, and gets what there is beyond. The routes are in
`story.py`; what the files mean, in `lab/story.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from glassgpt.errors import BusyError, GlassgptError
from glassgpt.lab import story
from glassgpt.runs import RunFolder
from glassgpt.serve.desk import Desk, DrainingError
from glassgpt.serve.limits import Limits

LOOK_S = 1.0
TURN_S = 0.2  # how soon a server that is being stopped lets its followers go
SHARE = 0.005  # of a core's time that reading one file again and again may take
LONGEST_PAUSE_S = 60.0
NO_ROWS: dict[str, list[Any]] = {"step": []}
Stamp = tuple[Any, ...]


@dataclass
class Reading:
    """What was last read of something, read again where the stamp differs; a failure is a reading too."""

    value: Any
    stamp: Stamp | None = None
    problem: str | None = None
    _not_before: float = 0.0

    @property
    def was_read(self) -> bool:
        return self.stamp is not None

    def renew(self, stamp: Stamp, read: Callable[[], Any]) -> bool:
        """Whether it was read again."""
        if stamp == self.stamp or time.monotonic() < self._not_before:
            return False
        begin = time.thread_time()  # of this thread alone: waiting for a busy machine costs nobody anything
        problem = None
        try:
            self.value = read()
        except (GlassgptError, OSError) as trouble:  # half-written, damaged or gone: the page says so
            problem = " ".join(str(trouble).split())
        self.problem, self.stamp = problem, stamp  # last: whoever looks meanwhile must not take it for read
        pause = min((time.thread_time() - begin) / SHARE, LONGEST_PAUSE_S)
        self._not_before = time.monotonic() + pause - LOOK_S
        return True


@dataclass
class Told:
    """What followers hear of one file: a list that grows, and its age, which changes where it began anew."""

    age: int = 0
    reading: Reading = field(default_factory=lambda: Reading(None))


class Watched:
    """One run: its summary, its log's rows, its samples."""

    def __init__(self, name: str, folder: RunFolder) -> None:
        self.name, self.folder = name, folder
        self.summary = Reading(None)
        self.rows, self.samples = Told(reading=Reading(NO_ROWS)), Told(reading=Reading([]))
        self.summaries = 0  # how often it changed

    def look(self, *, whole: bool) -> bool:
        """Whether there is news; a run that nobody follows (not `whole`) is looked at for its summary alone."""
        log = _stamp(self.folder.log)
        news = self._summarise(log)
        if whole:
            news |= self._read_rows(log)
            news |= self._read_samples()
        elif self.rows.reading.was_read:  # nobody follows any more; who comes is told anew, and whole
            self.rows = Told(self.rows.age + 1, Reading(NO_ROWS))
            self.samples = Told(self.samples.age + 1, Reading([]))
        return news

    def told_summary(self) -> dict[str, Any]:
        told = {"name": self.name} if self.summary.value is None else self.summary.value | {"name": self.name}
        return told if self.summary.problem is None else told | {"problem": self.summary.problem}

    @property
    def tells_tales(self) -> bool:
        return bool(self.told_summary().get("tales"))

    def _summarise(self, log: Stamp) -> bool:
        silent = bool(log) and time.time() - log[0] / 1e9 > story.STILL_GOING_S
        owned = self.folder.owner.exists()
        stamp = (log, owned, silent, _stamp(self.folder.config))
        before = self.told_summary()
        renewed = self.summary.renew(stamp, partial(summarised, self.folder))
        if not renewed or self.told_summary() == before:
            return False
        self.summaries += 1
        return True

    def _read_rows(self, log: Stamp) -> bool:
        rows, before = self.rows, self.rows.reading.value
        if not rows.reading.renew(log, partial(rows_of, self.folder)):
            return False
        count, after = len(before["step"]), rows.reading.value
        rows.age += any(after.get(name, [])[:count] != column for name, column in before.items())
        return rows.reading.problem is None

    def _read_samples(self) -> bool:
        samples, before = self.samples, self.samples.reading.value
        if not samples.reading.renew(_stamp(self.folder.samples), partial(story.samples_of, self.folder)):
            return False
        samples.age += samples.reading.value[: len(before)] != before
        return samples.reading.problem is None


def summarised(folder: RunFolder) -> dict[str, Any]:
    """The summary, with the reason where a file is there and cannot be read."""
    summary = story.summary_of(folder)
    try:
        if summary["step"] is None:
            rows_of(folder)
        if summary["max_steps"] is None and folder.config.exists():
            story.settings_of(folder)
    except GlassgptError as problem:
        summary["problem"] = " ".join(str(problem).split())
    return summary


def rows_of(folder: RunFolder) -> dict[str, list[Any]]:
    return story.columns_of(story.log_of(folder)) if folder.log.exists() else NO_ROWS


def _stamp(path: Path) -> Stamp:
    """Empty, where there is no such file."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


class Watch:
    """All runs of the desk's shelf, looked at by one task while somebody follows, and by nobody otherwise."""

    def __init__(self, desk: Desk, limits: Limits) -> None:
        self.desk, self.limits = desk, limits
        self.runs: dict[str, Watched] = {}
        self.turns = 0  # how often a look found news
        self.followers: dict[object, frozenset[str]] = {}
        self._turned, self._looking = asyncio.Event(), asyncio.Lock()
        self._fresh, self._due = False, 0.0
        self._task: asyncio.Task[None] | None = None

    def enter(self, names: frozenset[str]) -> object:
        """A ticket to leave with. The first to come starts the looking; each is told at once."""
        if self.desk.draining:
            raise DrainingError("the server is being stopped; ask another one, or later")
        if len(self.followers) >= self.limits.followers:
            raise BusyError(f"{len(self.followers)} others follow runs already; come back later")
        ticket = object()
        self.followers[ticket] = names
        self._due = 0.0
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._go_on())
        return ticket

    def leave(self, ticket: object) -> None:
        if self.followers.pop(ticket, None) is not None:
            self._turn()

    def goes_on(self, ticket: object) -> bool:
        return ticket in self.followers and not self.desk.draining

    async def news(self, *, since: int, timeout_s: float) -> bool:
        """Whether a look has found something since that turn, before the time is up."""
        if self.turns == since:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._turned.wait(), timeout_s)
        return self.turns != since

    async def look(self) -> Mapping[str, Watched]:
        """All runs as they are now, the newest first; read where they changed."""
        async with self._looking:
            await asyncio.to_thread(self._look, frozenset().union(*self.followers.values()))
            return self.runs

    async def _go_on(self) -> None:
        while self.followers and not self.desk.draining:
            if time.monotonic() >= self._due:
                self._due = time.monotonic() + LOOK_S
                await self.look()
            if self._fresh:
                self._fresh = False
                self._turn()
            await asyncio.sleep(TURN_S)
        self._turn()

    def _look(self, followed: frozenset[str]) -> None:
        try:
            found: Mapping[str, RunFolder] = self.desk.shelf.runs()
        except (GlassgptError, OSError):  # the whole folder is gone
            found = {}
        runs = {name: self.runs.get(name) or Watched(name, folder) for name, folder in found.items()}
        news = [run.look(whole=name in followed) for name, run in runs.items()]
        before, self.runs = self.runs, runs  # before anybody is told that there is news
        self._fresh |= any(news) or runs.keys() != before.keys()

    def _turn(self) -> None:
        self.turns += 1
        self._turned.set()
        self._turned = asyncio.Event()
