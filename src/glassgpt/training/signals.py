"""Ctrl-C and SIGTERM as a wish that the loop grants at the end of a step; the second one is granted at once.

torchrun is impatient: it hands on what the terminal has sent to all already, and ends all processes when one has
ended. Processes that it started let that pass, until they have saved.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

SIGNALS = [signal.SIGINT, signal.SIGTERM]
LAST_WORDS_S = 10  # more than the first process needs to say what is wrong


class Interrupts:
    """`with Interrupts() as interrupts: ...  if interrupts.caught: save and leave`."""

    number: int = 0  # of the first signal

    def __init__(self, *, patient: bool = False) -> None:
        """Who is patient lets later signals pass."""
        self._patient = patient

    @property
    def caught(self) -> str | None:
        return signal.Signals(self.number).name if self.number else None

    def __enter__(self) -> Interrupts:
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._before = {number: signal.signal(number, self._catch) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        # A patient one that was stopped is about to end; Python itself would no longer protect it then.
        ending = self._patient and self.number
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if ending else handler)

    def _catch(self, number: int, _frame: FrameType | None) -> None:
        self.number = self.number or number
        if not self._patient:
            for later, handler in self._before.items():
                signal.signal(later, handler)


def ask_to_stop() -> None:
    """Of this process's own run, where one is going, as a SIGTERM from outside would."""
    if callable(signal.getsignal(signal.SIGTERM)):
        signal.raise_signal(signal.SIGTERM)


def interrupt_only_once() -> None:
    """Before a run is going, the first Ctrl-C ends the process, and the second does not interrupt that."""
    signal.signal(signal.SIGINT, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def outlive_the_first() -> None:
    """Wait until torchrun ends this process, because the first one has ended, which it would else not let speak."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(2))
    time.sleep(LAST_WORDS_S)
