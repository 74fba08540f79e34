"""Ctrl-C and SIGTERM: a wish that the loop grants at the end of a step; the second one is granted at once.

While no run takes steps, the first one too ends a command at once, but in order: what was begun is cleaned up, and
nothing but one line is said. torchrun is impatient: it hands on what the terminal has sent to all already, and ends
all processes when one has ended. Processes that it started let that pass, until they have saved.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
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


class Asked(KeyboardInterrupt):
    """A signal that ends a command where it is."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class EndedBySignals:
    """`with EndedBySignals() as ending: ...`: the first signal is raised as `Asked`, a second ends the process.

    In `ending.number` it can be seen even where the exception was lost, or came out as another: no library expects
    one in the middle of its import.
    """

    number: int = 0

    def __init__(self, *, owns_process: bool) -> None:
        """Whose the process is, gives no handlers back: all is done, and Python's last moments know none but these."""
        self._owns_process = owns_process

    @property
    def code(self) -> int:
        """What a shell reports for a program that this signal ended."""
        return 128 + self.number

    def __enter__(self) -> EndedBySignals:
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        self._hook, sys.unraisablehook = sys.unraisablehook, self._look_at_lost
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        sys.unraisablehook = self._hook
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self._owns_process else handler)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        self.number = number
        for later in SIGNALS:
            signal.signal(later, leave_at_once)
        raise Asked(number)

    def _look_at_lost(self, lost: sys.UnraisableHookArgs) -> None:
        if not isinstance(lost.exc_value, Asked):
            self._hook(lost)
            return
        os._exit(self.code)  # it was raised where Python lets nothing out, such as a destructor


def leave_at_once(number: int, _frame: FrameType | None) -> None:
    if sys.stdout.isatty():
        os.write(1, b"\033[?25h\n")  # the cursor, which the live display hides
    os._exit(128 + number)


def interrupt_only_once() -> None:
    """For one process of several: the first signal ends it in order, and later ones do not interrupt that."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    for later in SIGNALS:
        signal.signal(later, signal.SIG_IGN)
    raise Asked(number)


def outlive_the_first() -> None:
    """Wait until torchrun ends this process, because the first one has ended, which it would else not let speak."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(2))
    time.sleep(LAST_WORDS_S)
