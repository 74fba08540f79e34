"""The one thread that computes: a step of each engine that has work, then what came of it goes out.

Nobody else calls `step`. Requests come in by the engines' own queues; `wake` says that one has come. A step that goes
wrong ends the requests of its engine with an error, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from glassgpt.errors import GlassgptError, is_out_of_memory
from glassgpt.sampling.engine import Engine
from glassgpt.sampling.requests import EngineEvent

Result = TypeVar("Result")
Outlet = Callable[[Sequence[EngineEvent]], None]
log = logging.getLogger(__name__)


class Worker:
    def __init__(self, engines: Callable[[], Sequence[Engine]], outlet: Outlet) -> None:
        """`outlet` is called in the worker's thread, with the events of one step of one engine."""
        self._engines, self._outlet = engines, outlet
        self._awake = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="glassgpt-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._awake.set()

    def end(self) -> None:
        """After the step that is being taken."""
        self._ended = True
        self.wake()
        self._thread.join(timeout=5)

    def _work(self) -> None:
        while not self._ended:
            self._awake.clear()  # before looking, so that whoever comes while we look is not missed
            busy = [engine for engine in self._engines() if engine.has_work]
            for engine in busy:
                if events := _step(engine):
                    self._outlet(events)
                    time.sleep(0)  # the loop may be waiting for Python, with somebody's leave to tell
            if not busy:
                self._awake.wait()


def _step(engine: Engine) -> Sequence[EngineEvent]:
    try:
        return engine.step()
    except Exception as problem:
        log.exception("a step went wrong")
        full = is_out_of_memory(problem)
        return engine.abort(GlassgptError("out of memory; ask for less" if full else "the model failed at this step"))


async def beside(work: Callable[..., Result], *given: Any) -> Result:
    """What computes for a moment (a model is read, or looked into) does so in a thread that ends with it.

    Each thread that has computed keeps helpers of OpenMP's. Where all of these are more than the processors, GNU's lets
    none of them wait awake, those of the worker neither: its steps took a third longer for as long as the thread lived.
    """
    loop = asyncio.get_running_loop()
    ending: asyncio.Future[Result] = loop.create_future()

    def settle(how: Callable[[Any], None], what: object) -> None:
        if not ending.done():
            how(what)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], object] = (ending.set_result, work(*given))
        except Exception as problem:
            outcome = (ending.set_exception, problem)
        with suppress(RuntimeError):  # the server has ended meanwhile
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="glassgpt-beside", daemon=True).start()
    return await ending
