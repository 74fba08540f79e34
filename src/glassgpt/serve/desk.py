"""Between the server's loop, where requests wait, and the worker's thread, where they are computed.

A route gets a `Pending`: the events of its own request as they come, those of one step together. Whoever closes
it early, for whatever reason, has cancelled: a client that went away costs no further step.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from glassgpt.config import SamplingConfig
from glassgpt.errors import BusyError
from glassgpt.sampling.engine import Engine
from glassgpt.sampling.requests import EngineEvent, Failed, PromptRead, Request, Written
from glassgpt.serve.shelf import Served, Shelf
from glassgpt.serve.worker import Worker, beside

WHEN_GONE = "when_gone"  # under this name a request's state has what is to be called when its connection is lost


class DrainingError(BusyError):
    pass


class Desk:
    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.draining = False
        self.counts: Counter[str] = Counter()
        self._loading = asyncio.Lock()
        self._tickets = itertools.count(1)
        self._waiting: dict[int, Pending] = {}
        self._worker = Worker(shelf.engines, self._from_thread)

    def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worker.start()

    def close(self) -> None:
        self._worker.end()

    @property
    def in_flight(self) -> int:
        return len(self._waiting)

    async def model(self, name: str) -> Served:
        """Read from disk at its first use, beside the loop, so that others are answered meanwhile."""
        if (served := self.shelf.have(name)) is not None:
            return served
        async with self._loading:
            return await beside(self.shelf.take, name)

    def submit(
        self,
        served: Served,
        prompts: Sequence[Sequence[int]],
        settings: SamplingConfig,
        *,
        alternatives: int = 0,
        score_prompt: bool = False,
    ) -> Pending:
        """Refused at once where the engine's queue is full."""
        if self.draining:
            raise DrainingError("the server is being stopped; ask another one, or later")
        request = Request(
            ticket=next(self._tickets),
            prompts=prompts,
            settings=settings,
            alternatives=alternatives,
            score_prompt=score_prompt,
        )
        try:
            served.engine.submit(request)
        except BusyError:
            self.counts["refused"] += 1
            raise
        self.shelf.keep(served)
        self.counts["requests"] += 1
        pending = self._waiting[request.ticket] = Pending(self, served.engine, request)
        self.counts["prompt_tokens"] += sum(map(len, prompts))
        self._worker.wake()
        return pending

    def let_go(self, pending: Pending) -> None:
        """Called as a request ends, however it ends: what is still being written for it is cancelled."""
        ticket = pending.request.ticket
        if self._waiting.pop(ticket, None) is not None and pending.unfinished:
            self.counts["cancelled"] += 1
            pending.engine.cancel(ticket)
            self._worker.wake()

    def _from_thread(self, events: Sequence[EngineEvent]) -> None:
        self._loop.call_soon_threadsafe(self._hand_out, events)  # once for a step, however many are served

    def _hand_out(self, events: Sequence[EngineEvent]) -> None:
        bundles: dict[int, list[EngineEvent]] = {}
        for event in events:
            bundles.setdefault(event.ticket, []).append(event)
        self.counts["tokens"] += sum(isinstance(event, Written) for event in events)
        for ticket, bundle in bundles.items():
            if ticket in self._waiting:
                self._waiting[ticket].put(bundle)


class Pending:
    """A request on its way. Whoever has one calls `close`, also after an error."""

    def __init__(self, desk: Desk, engine: Engine, request: Request) -> None:
        self.engine, self.request, self.unfinished = engine, request, request.texts
        self._desk = desk
        self._bundles: asyncio.Queue[list[EngineEvent]] = asyncio.Queue()

    def put(self, bundle: list[EngineEvent]) -> None:
        self._bundles.put_nowait(bundle)

    def close(self) -> None:
        self._desk.let_go(self)

    async def bundles(self) -> AsyncIterator[list[EngineEvent]]:
        """The events of each step, until all texts have ended; a failure is raised.

        Steps that wait already come as one: writing them one by one would let nobody else in between.
        """
        while self.unfinished:
            bundle = await self._bundles.get()
            while not self._bundles.empty() and not isinstance(bundle[-1], Failed):
                bundle += self._bundles.get_nowait()
            failure = next((event for event in bundle if isinstance(event, Failed)), None)
            told = [event for event in bundle if event is not failure]
            self.unfinished = 0 if failure else self.unfinished - sum(map(_ends, told))
            if told:
                yield told
            if failure:
                raise failure.problem


def _ends(event: EngineEvent) -> bool:
    if isinstance(event, Written):
        return event.event.finished is not None
    return isinstance(event, PromptRead) and event.finished
