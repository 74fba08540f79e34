"""How long something takes, and how much memory it needs, measured so that the figure can be believed.

The first call is not counted (kernels are chosen, caches filled), the device is waited for, and the median of several
calls stands for all. What is measured is told in `bench.py` and `forms.py`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

ENOUGH = 1000  # repetitions; more say nothing new


@dataclass(frozen=True)
class Timing:
    """Seconds of one call."""

    median_s: float
    fastest_s: float
    repetitions: int


def time_calls(action: Callable[[], object], *, seconds: float, device: torch.device, least: int = 3) -> Timing:
    """Repeat for about so many seconds, and `least` times; where the first call took longer than all that, once."""
    first_s = time_once(action, device)
    least = 1 if first_s > seconds else least
    taken: list[float] = []
    while len(taken) < least or (sum(taken) < seconds and len(taken) < ENOUGH):
        taken.append(time_once(action, device))
    return Timing(statistics.median(taken), min(taken), len(taken))


def time_once(action: Callable[[], object], device: torch.device) -> float:
    wait_for(device)
    begin = time.perf_counter()
    action()
    wait_for(device)
    return time.perf_counter() - begin


def wait_for(device: torch.device) -> None:
    """An accelerator works on while Python has gone on; what was asked of it is done when this returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@dataclass
class Peak:
    size_bytes: int | None = None  # None where the system does not tell


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """The most memory held inside the block: tensors on a CUDA card, else all of this process."""
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.size_bytes = torch.cuda.max_memory_allocated(device)
        return
    _forget_peak()
    yield peak
    peak.size_bytes = _resident_peak()


def _forget_peak() -> None:
    """Linux can begin to count anew; elsewhere the peak is that of the whole process until now."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _resident_peak() -> int | None:
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text(encoding="utf-8", errors="replace").splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS, the one that comes here
