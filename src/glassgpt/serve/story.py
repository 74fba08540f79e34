"""What the page asks about runs: which there are, what one of them tells, and what is new while it trains.

    GET /glass/runs   GET /glass/runs/NAME   GET /glass/follow?run=NAME&from=STEP (server-sent events)

A run that is half written, damaged or gone is told of as such; it never is an error of the server's. Who follows is
told by `watch.py` that there is news, and finds here what of it is new to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from glassgpt import settings
from glassgpt.errors import ConfigError, GlassgptError, did_you_mean
from glassgpt.lab import story
from glassgpt.lab.evaluations import evaluations_of
from glassgpt.serve.answers import sent
from glassgpt.serve.desk import WHEN_GONE, Desk
from glassgpt.serve.limits import Limits
from glassgpt.serve.problems import answer
from glassgpt.serve.shelf import UnknownModelError
from glassgpt.serve.watch import NO_ROWS, Told, Watch, Watched, rows_of

HEARTBEAT_S = 15.0  # a proxy takes a connection for dead that says nothing for a minute
MOST_FOLLOWED = 16
READING = 2  # runs that are read whole at a time
Names = Annotated[list[str] | None, Query(alias="run")]
Steps = Annotated[list[int] | None, Query(alias="from")]


def add_story(app: FastAPI, desk: Desk, limits: Limits) -> None:
    watch, turn = Watch(desk, limits), asyncio.Semaphore(READING)

    @app.get("/glass/runs")
    async def runs() -> Response:
        return answer({"runs": _summaries(await watch.look())})

    @app.get("/glass/runs/{name}")
    async def run(name: str) -> Response:
        found = await watch.look()
        _refuse_unknown([name], found)
        async with turn:
            return answer({"summary": found[name].told_summary()} | await asyncio.to_thread(_whole, found[name]))

    @app.get("/glass/follow")
    async def follow(request: Request, names: Names = None, steps: Steps = None) -> Response:
        names, steps = names or [], steps or []
        if len(names) > MOST_FOLLOWED or len(steps) > len(names):
            raise ConfigError(f"{len(names)} runs and {len(steps)} steps; up to {MOST_FOLLOWED} runs can be followed")
        _refuse_unknown(names, await watch.look())
        places = [Place(*pair) for pair in zip(names, [*steps, *[0] * len(names)], strict=False)]
        ticket = watch.enter(frozenset(names))
        setattr(request.state, WHEN_GONE, lambda: watch.leave(ticket))
        return Following(watch, ticket, places)


def _refuse_unknown(names: Sequence[str], found: Mapping[str, Watched]) -> None:
    for name in names:
        if name not in found:
            raise UnknownModelError(f"there is no run {name!r}{did_you_mean(name, found)}; see GET /glass/runs")


def _summaries(runs: Mapping[str, Watched]) -> list[dict[str, Any]]:
    return [run.told_summary() for run in runs.values()]


def _whole(run: Watched) -> dict[str, Any]:
    """All that one run tells; what of it cannot be read is left empty, and named among the problems."""
    folder = run.folder
    problems: list[str] = []

    def part(read: Callable[[], Any], instead: Any) -> Any:
        try:
            return read()
        except (GlassgptError, OSError) as problem:
            problems.append(" ".join(str(problem).split()))
            return instead

    samples: list[dict[str, Any]] = part(lambda: story.samples_of(folder), [])
    return {
        "settings": part(lambda: _grouped(story.settings_of(folder)), []),
        "references": part(lambda: story.references_of(folder), []),
        "evaluations": part(lambda: [one.model_dump() for one in evaluations_of(folder)], []),
        "samples": samples,
        "sample_marks": story.marks_of_samples(samples) if run.tells_tales else [],
        "columns": part(lambda: rows_of(folder), NO_ROWS),
        "problems": problems,
    }


def _grouped(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    groups = {name: piece for piece, name, _ in settings.fields()}
    return [{"group": groups.get(row["name"], "run")} | row for row in rows]


@dataclass
class Place:
    """How far somebody was told of one run."""

    name: str
    step: int  # up to which the rows are known already
    rows: tuple[int, int] = (-1, 0)  # of which age, and how many
    samples: tuple[int, int] = (-1, 0)

    def news(self, run: Watched) -> list[dict[str, Any]]:
        """What is new to them since the last time; nothing, before its files were read once."""
        rows = self._new_rows(run.rows) if run.rows.reading.was_read else []
        samples = self._new_samples(run) if run.samples.reading.was_read else []
        return [{"run": self.name} | event for event in (*rows, *samples)]

    def _new_rows(self, told: Told) -> list[dict[str, Any]]:
        columns = told.reading.value
        steps, (age, count) = columns["step"], self.rows
        if age < 0 and self.step in steps:
            age, count = told.age, steps.index(self.step) + 1
        if age != told.age or count > len(steps):  # shorter: it begins anew just now, and its age comes after
            count = 0
        again = age >= 0 and age != told.age
        self.rows = (told.age, len(steps))
        if count == len(steps) and not again:
            return []
        new = {name: column[count:] for name, column in columns.items()}
        return [{"kind": "rows", "from_step": int(steps[count - 1]) if count else 0, "columns": new}]

    def _new_samples(self, run: Watched) -> list[dict[str, Any]]:
        told = run.samples
        samples, (age, count) = told.reading.value, self.samples
        count = count if age == told.age and count <= len(samples) else 0
        again = age >= 0 and age != told.age
        self.samples = (told.age, len(samples))
        if count == len(samples) and not again:
            return []
        new = samples[count:]
        before = samples[count - 1]["step"] if count else 0
        marks = story.marks_of_samples(new) if run.tells_tales else []
        return [{"kind": "samples", "from_step": before, "samples": new, "sample_marks": marks}]


class Following(StreamingResponse):
    """Server-sent events; however the connection ends, nobody looks at files for it any more."""

    def __init__(self, watch: Watch, ticket: object, places: Sequence[Place]) -> None:
        super().__init__(self._events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self.watch, self.ticket, self.places = watch, ticket, places
        self.known: dict[str, int] = {}  # runs, and how often their summaries had changed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.watch.leave(self.ticket)

    async def _events(self) -> AsyncIterator[bytes]:
        yield b": here\n\n"
        while self.watch.goes_on(self.ticket):
            turn, runs = self.watch.turns, self.watch.runs
            for event in self._news_of_all(runs):
                yield sent(event)
            for place in self.places:
                if place.name in runs:
                    for event in await asyncio.to_thread(place.news, runs[place.name]):
                        yield sent(event)
            if not await self.watch.news(since=turn, timeout_s=HEARTBEAT_S):
                yield b": still here\n\n"

    def _news_of_all(self, runs: Mapping[str, Watched]) -> list[dict[str, Any]]:
        now = {name: run.summaries for name, run in runs.items()}
        before, self.known = self.known, now
        if now.keys() != before.keys():
            return [{"kind": "runs", "runs": _summaries(runs)}]
        return [
            {"kind": "summary", "run": name, "summary": runs[name].told_summary()}
            for name, count in now.items()
            if count != before[name]
        ]
