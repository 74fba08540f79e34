"""A process that torchrun started does not outlive it: not even when that was killed and could tell nobody.

No signal tells a process on every system that its parent is gone; that it has another parent now can be asked. Then
the run is asked to stop, as by SIGTERM: it saves, and all its processes leave together.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

EVERY_S = 1.0
GRACE_S = 15.0  # for the step, the evaluation and the checkpoint; then, whatever it waits for will not come


@contextmanager
def not_outliving_the_launcher() -> Iterator[None]:
    """While the block runs, a thread looks whether the process that started this one is still there."""
    over = threading.Event()
    threading.Thread(target=_watch, args=(os.getppid(), over), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _watch(parent: int, over: threading.Event) -> None:
    while not over.wait(EVERY_S):
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(GRACE_S)
            os._exit(128 + signal.SIGTERM)
