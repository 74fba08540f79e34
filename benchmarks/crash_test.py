r"""What becomes of runs and prepared texts when the process dies, or the disk fails, at any of their file operations.

    python benchmarks/crash_test.py [--stride 7] [--seed 1]

Every operation of every scenario (`disturbed.py`) is broken in four ways. Afterwards, on a good disk and with nothing
removed by hand, the newest whole state must be found, and the next start must end with the bits of an undisturbed run.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from accidents.broken_disk import (
    ERRORS,
    KILLED,
    WAYS,
    BrokenDisk,
    Died,
    Unsynced,
    Way,
    can_die_for_real,
    die,
    exit_code_of,
    seem_to_die,
    working_on,
)
from accidents.disturbed import Scenario, a_world
from accidents.disturbed_runs import ALL, FOLDER
from accidents.full_disk import try_both
from common import options
from promises import Promise, told

from glassgpt.cli.main import guarded
from glassgpt.training.events import Event, Note, Saved

Known = dict[object, list[str]]  # what became of a state of the disk


@dataclass(frozen=True)
class Point:
    """One operation of one scenario, broken in one way."""

    scenario: Scenario
    at: int
    way: Way


def points(scenarios: Sequence[Scenario], *, stride: int = 1, seed: int = 1) -> list[Point]:
    """All, or of each operation one way (`stride` 4: a quarter of them all), shifted by the seed."""
    every = [
        Point(scenario, at, way)
        for scenario in scenarios
        for at in range(1, operations_of(scenario) + 1)
        for way in WAYS
    ]
    first = random.Random(seed).randrange(stride)
    return every[first::stride]


def operations_of(scenario: Scenario) -> int:
    disk = BrokenDisk()
    with scenario.at_home(scenario.world / "counted"), working_on(disk):
        scenario.act(lambda _: None)
    return disk.operations


def try_point(point: Point, home: Path, known: Known, *, death: Callable[[], NoReturn] = seem_to_die) -> list[str]:
    """What is wrong: at once, and when somebody has gone on. The same bytes on a disk have the same future."""
    scenario, heard = point.scenario, home.with_name(f"{home.name}.heard")
    heard.write_bytes(b"")
    with scenario.at_home(home):
        disk = BrokenDisk(point.at, point.way, death=death)
        faults = _died(scenario, disk, heard) if point.way not in ERRORS else _failed(scenario, disk, heard)
        saved, excused = _said_in(heard)
        state = (type(scenario), saved, tuple(excused), scenario.state())
        if state not in known:
            with working_on(Unsynced()):
                known[state] = _future(scenario, saved, excused)
        return faults + known[state]


def _future(scenario: Scenario, saved: int, excused: Sequence[str]) -> list[str]:
    try:
        faults = scenario.torn(saved)
        scenario.go_on()
        return faults + scenario.faults(excused)
    except Exception as problem:
        return [f"going on ends with {type(problem).__name__}: {problem}"]


def _died(scenario: Scenario, disk: BrokenDisk, heard: Path) -> list[str]:
    if disk.death is die:
        code = exit_code_of(lambda: _act(scenario, disk, heard))
        return [] if code == KILLED else [f"it ended with {code} before it could die"]
    try:
        _act(scenario, disk, heard)
    except Died:
        return []
    return ["it did not die"]


def _failed(scenario: Scenario, disk: BrokenDisk, heard: Path) -> list[str]:
    """A failure is one line and exit code 2; of what a run can do without (a copy, a draft to remove) a note."""
    err = io.StringIO()
    try:
        with contextlib.redirect_stderr(err):
            code = guarded(lambda: _act(scenario, disk, heard))
    except Exception as problem:
        return [f"it ended with {type(problem).__name__}: {problem}"]
    said = err.getvalue()
    if (code, said) == (0, "") or (code == 2 and said.startswith("glassgpt: ") and said.count("\n") == 1):
        return []
    return [f"exit code {code}, and on stderr {said!r}"]


def _act(scenario: Scenario, disk: BrokenDisk, heard: Path) -> int:
    with heard.open("ab", buffering=0) as file, working_on(disk):

        def hear(event: Event) -> None:
            if isinstance(event, Saved) and event.path == FOLDER.last:
                file.write(f"saved {event.step}\n".encode())
            if isinstance(event, Note) and " could not be written" in event.text:
                file.write(f"excused {event.text.partition(' could not')[0]}\n".encode())

        scenario.act(hear)
    return 0


def _said_in(heard: Path) -> tuple[int, list[str]]:
    """The last step that was said to be saved, and the copies that were said to be missing."""
    lines = [line.split(" ", 1) for line in heard.read_text(encoding="utf-8").splitlines()]
    steps = [int(rest) for what, rest in lines if what == "saved"]
    return max(steps, default=0), [rest for what, rest in lines if what == "excused"]


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--seed", type=int, default=1, help="where a stride begins (default: 1)")
    parser.add_argument("--stride", type=int, default=1, help="try each so-many-th point only (default: all)")
    asked = parser.parse_args()
    begin = time.perf_counter()
    real = 0
    failed: dict[Point, list[str]] = {}
    known: Known = {}
    with tempfile.TemporaryDirectory(dir=quick_place()) as place, a_world(Path(place)) as world:
        chosen: list[Point] = []
        for point in _each_point(world, chosen, stride=asked.stride, seed=asked.seed):
            death = die if can_die_for_real() else seem_to_die  # learning byte pairs leaves threads behind
            real += death is die and point.way not in ERRORS
            if faults := try_point(point, world / "home", known, death=death):
                if faults not in failed.values():  # others of the same kind are only counted
                    print(f"  {point.scenario.name}, operation {point.at}, {point.way}: {'; '.join(faults)}")
                failed[point] = faults
    seconds = round(time.perf_counter() - begin, 1)
    deaths = sum(point.way not in ERRORS for point in chosen)
    print(
        f"{real} of {deaths} deaths are real ones (os._exit in a forked process); the others are played; "
        f"{len(known)} different states were gone on from"
    )
    for name in dict.fromkeys(point.scenario.name for point in chosen):
        here = [point for point in chosen if point.scenario.name == name]
        print(f"{name:72} {sum(point not in failed for point in here):5} of {len(here)}")
    return told("crash_test", [_promise(chosen, set(failed), asked.seed, seconds), _full_disk(asked.seed)])


def _each_point(world: Path, chosen: list[Point], *, stride: int, seed: int) -> Iterator[Point]:
    """One scenario after the other is made, that of byte pairs last: it leaves threads behind."""
    for kind in ALL:
        for point in points([kind(world)], stride=stride, seed=seed):
            chosen.append(point)
            yield point


def _promise(chosen: Sequence[Point], failed: set[Point], seed: int, seconds: float) -> Promise:
    places = {(point.scenario.name, point.at) for point in chosen}
    bad = {(point.scenario.name, point.at) for point in failed}
    ways = len({point.way for point in chosen})
    what = f"crash points: {ways} ways each ({len(chosen) - len(failed)} of {len(chosen)} trials), gone on from"
    return Promise(promise=what, figure=f"{len(places) - len(bad)} of {len(places)}", tried=len(chosen),
                   failed=len(failed), seed=seed, seconds=seconds)  # fmt: skip


def _full_disk(seed: int) -> Promise:
    begin = time.perf_counter()
    answer = try_both()
    for way, wrong in answer.items():
        print(f"{way}: {wrong if isinstance(wrong, str) else '; '.join(wrong) or 'previous checkpoint whole'}")
    tried = [wrong for wrong in answer.values() if isinstance(wrong, list)]
    failed = sum(map(bool, tried))
    return Promise(promise="disk full: previous checkpoint whole", tried=len(tried), failed=failed, seed=seed,
                   seconds=round(time.perf_counter() - begin, 1))  # fmt: skip


def quick_place() -> str | None:
    """Memory, where the system has files in it: a process that dies there loses as little as on a disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    sys.exit(main())
