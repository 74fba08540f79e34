"""Time in a run: since its first step, resumed or not, and the pace of the steps alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    def __init__(self, *, before: float) -> None:
        """`before`: seconds that the run took until it was stopped and resumed."""
        self._start = time.perf_counter() - before
        self._stepping_s, self._steps = 0.0, 0

    def seconds(self) -> float:
        return time.perf_counter() - self._start

    @contextmanager
    def stepping(self) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self._stepping_s += time.perf_counter() - begin
        self._steps += 1

    def take_pace(self) -> float:
        """Steps per second since the last call, evaluations and savings left out."""
        pace = self._steps / self._stepping_s if self._stepping_s else 0.0
        self._stepping_s, self._steps = 0.0, 0
        return pace
