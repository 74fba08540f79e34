"""Ctrl-C and SIGTERM in a sweep, which goes on for many runs: the wish is granted between the steps of whatever runs.

A run has handlers of its own while it takes steps (`training/signals.py`), and gives the earlier ones back as soon as
it has heard a signal: that is how the sweep learns of one that came in a run's last step, too late to stop it.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = [signal.SIGINT, signal.SIGTERM]


class Wishes:
    """`with Wishes() as wishes: ...  if wishes.caught: leave`. The second signal is granted at once."""

    caught: str | None = None

    def __enter__(self) -> Wishes:
        self._before: dict[int, Any] = {}
        self._lent = False
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._before = {number: signal.signal(number, self._catch) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def look(self, *, run_is_over: bool = False) -> None:
        """Called at each event of a run: did it hear a signal?"""
        if not self._before or self.caught:
            return
        ours = signal.getsignal(signal.SIGINT) == self._catch
        if ours and self._lent:
            self.caught = signal.SIGINT.name
        self._lent = not ours and not run_is_over

    def _catch(self, number: int, _frame: FrameType | None) -> None:
        self.caught = signal.Signals(number).name
        for later, handler in self._before.items():
            signal.signal(later, handler)
        if self._lent:  # this is the second: a run has heard the first
            signal.raise_signal(number)
