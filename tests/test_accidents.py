"""Real processes of a real training, ended at random moments: the short form of what `make reliability` does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked, so that torch loads once")


def promises_of(program: str, *words: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{program}.py"), *words], capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    promises: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])["promises"]
    assert all(promise["tried"] and not promise["failed"] for promise in promises)
    return promises


def test_runs_that_are_killed_at_random_moments_end_with_the_same_bits() -> None:
    runs, kills, _ = promises_of("kill_test", "--kills", "2", "--seed", "3")
    assert runs["tried"] >= 1
    assert kills["tried"] == 2


def test_a_signal_at_any_moment_ends_it_in_order_and_a_second_one_at_once() -> None:
    once, twice = promises_of("signal_test", "--signals", "2", "--seed", "3")
    assert (once["tried"], twice["tried"]) == (2, 1)


@pytest.mark.slow
def test_of_two_processes_whoever_is_killed_nobody_is_left_behind() -> None:
    (kills,) = promises_of("worker_test", "--kills", "6")
    assert kills["tried"] == 6
