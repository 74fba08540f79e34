"""What every program about trust shares: promises with the figures that were measured, as a table and a line of JSON.

    return told("kill_test", [Promise("...", tried=200, failed=0, seed=1, seconds=70.2)])     # the exit code

`reliability.py` makes docs/reliability.md of the lines. Where nothing failed in N trials, the chance of a failure is,
with 95 % confidence, below 3/N (the rule of three).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from common import machine

FEW = 20


@dataclass(frozen=True, kw_only=True)
class Promise:
    promise: str
    tried: int
    failed: int
    seed: int
    seconds: float
    figure: str = ""  # in place of the plain count

    @property
    def shown(self) -> str:
        return self.figure or f"{self.tried - self.failed:,} of {self.tried:,}"


def bound(tried: int, failed: int) -> str:
    """`bound(200, 0) == "1.5 %"`: how often it may fail at most, where it never did; a few trials say nothing."""
    return "" if failed or tried < FEW else f"{300 / tried:.2g} %"


def told(program: str, promises: Sequence[Promise]) -> int:
    """Print them; 1, where one was not kept."""
    width = max(len(promise.promise) for promise in promises)
    for promise in promises:
        kept = "kept" if not promise.failed else f"BROKEN in {promise.failed:,}"
        print(f"{promise.promise:{width}}  {promise.shown:>24}  {kept}")
    rows = [asdict(promise) | {"figure": promise.shown} for promise in promises]
    print(json.dumps({"program": program, "promises": rows, "machine": machine()}))
    return int(any(promise.failed for promise in promises))
