"""Ctrl-C and SIGTERM as a wish that the loop grants at the end of a step; the second one is granted at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = [signal.SIGINT, signal.SIGTERM]


class Interrupts:
    """`with Interrupts() as interrupts: ...  if interrupts.caught: save and leave`."""

    caught: str | None = None

    def __enter__(self) -> Interrupts:
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._before = {number: signal.signal(number, self._catch) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _catch(self, number: int, _frame: FrameType | None) -> None:
        self.caught = signal.Signals(number).name
        for later, handler in self._before.items():
            signal.signal(later, handler)
