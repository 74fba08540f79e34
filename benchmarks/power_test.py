r"""What a power loss could leave, at every moment: operations are replayed (`drive.py`), what was not synced is lost.

    python benchmarks/power_test.py [--seed 1]

Of a file any beginning of its unsynced writes may be there, or zeros in their place; of a folder any of its unsynced
changes may be undone. In each such state the readers must find an old or a new version, and nothing may be lost that
was said to be saved.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accidents.broken_disk import Done, Recorder, Unsynced, working_on
from accidents.disturbed import INSIDE, Preparing, PreparingPairs, Scenario, a_world
from accidents.disturbed_runs import FOLDER, SEED, Overwriting, Resuming, Training
from accidents.drive import Drive, State
from common import options
from crash_test import quick_place
from promises import Promise, told

from glassgpt.checkpoint import load_checkpoint
from glassgpt.errors import CheckpointError, RunError
from glassgpt.recovery import find_state
from glassgpt.runs import RunFolder, claim
from glassgpt.training.events import Saved
from glassgpt.training.metrics import rows_up_to
from glassgpt.training.samplefile import SampleFile


@dataclass
class Record:
    """What a scenario did to the disk, and what is true of it when nothing happens."""

    scenario: Scenario
    home: Path
    done: list[Done]

    @classmethod
    def of(cls, scenario: Scenario) -> Record:
        home, disk = scenario.world / "recorded", Recorder()
        with scenario.at_home(home), working_on(disk):
            scenario.act(disk.tell)
            disk.tell("the end")
        return cls(scenario, home, disk.done)

    def sites(self) -> list[str]:
        return sorted({done.site for done in self.done if done.site})

    def moments(self, *, without: str | None = None) -> Iterator[tuple[Drive, list[object]]]:
        """The disk after each operation that matters, and what was told until then; `without` the syncs of one site."""
        drive, told = Drive(self.home, self.scenario.before), list[object]()
        yield drive, told
        for done in self.done:
            if done.what == "told":
                told.append(done.told)
            elif done.site != without or without is None:
                drive.do(done)
            if done.what == "told" or drive.matters(done):
                yield drive, told


class Judge:
    """Reads what is left, as the next start would."""

    def __init__(self, record: Record) -> None:
        self.scenario = record.scenario
        self.looks = record.scenario.world / "looked at"
        self.whole = _versions(record)
        self._known: dict[object, Any] = {}

    def faults(self, state: State, told: Sequence[object]) -> list[str]:
        grown = {str(FOLDER.log), str(FOLDER.samples)}
        torn = [f"{name} is neither old nor new" for name, content in state.items()
                if name not in grown and content not in self.whole.get(name, ())]  # fmt: skip
        return torn or (self._run(state, told) if isinstance(self.scenario, Training) else self._prepared(state, told))

    def _prepared(self, state: State, told: Sequence[object]) -> list[str]:
        """Whole or absent; a folder is read as one."""
        folders: dict[str, set[str]] = {}
        for name in state:
            if name.startswith("cache/prepared/"):
                folders.setdefault(str(Path(name).parent), set()).add(Path(name).name)
        wrong = [f"{folder} is not whole: {sorted(names)}" for folder, names in folders.items() if names != set(INSIDE)]
        missing = {*self.scenario.truth} - {Path(name).name for name in state} if "the end" in told else set()
        return wrong + [f"{name} is gone" for name in sorted(missing)]

    def _run(self, state: State, told: Sequence[object]) -> list[str]:
        saved = {path: max((event.step for event in told if isinstance(event, Saved) and event.path == path), default=0)
                 for path in (FOLDER.best, FOLDER.last)}  # fmt: skip
        wrong = [
            f"the best of step {step} is gone" for step in [saved[FOLDER.best]] if step > self._step_of_best(state)
        ]
        wrong += self._once(("claim", frozenset(state)), lambda: _refused(self._laid(state)))
        states = tuple(state.get(str(path)) for path in (FOLDER.last, FOLDER.previous))
        if states == (None, None):
            return wrong + [f"step {step} was saved, and nothing is left" for step in [saved[FOLDER.last]] if step]
        step, seed, best_step = self._once(("found", *states), lambda: _found(self._laid(state)))
        if saved[FOLDER.last] and (step < saved[FOLDER.last] or seed != SEED):
            wrong.append(f"step {saved[FOLDER.last]} was saved, and step {step} of seed {seed} was found")
        if seed == SEED and best_step > self._step_of_best(state):  # of an old one that is being removed it may be gone
            wrong.append(f"step {step} knows of a best one at {best_step}, which is gone")
        if seed != SEED and f"seed: {SEED}\n".encode() in state.get(str(FOLDER.config), b""):
            wrong.append("the configuration of the new run lies beside a state of the old one")
        every = self.scenario.choices.get("keep_every", step + 1) if seed == SEED else step + 1
        kept = [FOLDER.kept_at(at) for at in range(every, step + 1, every)]
        wrong += [f"step {step} was saved, and {path.name} is gone" for path in kept if str(path) not in state]
        grown = (step, seed, *(state.get(name) for name in _GROWN))
        return [*wrong, *self._once(grown, lambda: self._grown(state, step, seed))]

    def _grown(self, state: State, step: int, seed: int) -> list[str]:
        """The log and the samples, as a resumed run begins with them."""
        laid = self._laid(state)
        whole = self.scenario.undisturbed if seed == SEED else self.scenario.before
        wrong = []
        if rows_up_to(laid.log, step) != rows_up_to(whole / FOLDER.log, step):
            wrong.append(f"the log lacks rows up to step {step}")
        for folder in (laid, RunFolder(self.looks / "whole")):
            folder.path.mkdir(exist_ok=True)
            if folder is not laid:
                shutil.copy(whole / FOLDER.samples, folder.samples)
            SampleFile(folder.samples, up_to_step=step)
        if laid.samples.read_bytes() != folder.samples.read_bytes():
            wrong.append(f"the samples up to step {step} are other ones")
        return wrong

    def _step_of_best(self, state: State) -> int:
        content = state.get(str(FOLDER.best))
        return (
            0
            if content is None
            else int(self._once(("best", content), lambda: load_checkpoint(self._laid(state).best).step))
        )

    def _laid(self, state: State) -> RunFolder:
        """The run folder alone, on a real disk."""
        laid = self.looks / "laid"
        shutil.rmtree(laid, ignore_errors=True)
        laid.mkdir(parents=True)
        for name, content in state.items():
            if Path(name).parent == FOLDER.path:
                (laid / Path(name).name).write_bytes(content)
        return RunFolder(laid)

    def _once(self, key: object, look: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = look()
        return self._known[key]


_GROWN = (str(FOLDER.log), str(FOLDER.samples))


def _refused(folder: RunFolder) -> list[str]:
    """Whoever begins anew there can do so without removing anything by hand."""
    try:
        claim(folder.path, overwrite=True)
    except RunError as problem:
        return [str(problem)]
    return []


def _found(folder: RunFolder) -> tuple[int, int, int]:
    found = find_state(folder.path).checkpoint
    return found.step, int(found.settings["seed"]), int(found.metrics["best_step"])


def _versions(record: Record) -> dict[str, set[bytes]]:
    """All that ever got a name as a whole, or had it before."""
    drive = Drive(record.home, record.scenario.before)
    versions: dict[str, set[bytes]] = {}
    for done in [Done("told", Path()), *record.done]:
        drive.do(done)
        if done.what in {"rename", "told"}:
            for name, file in drive.files(drive.root, "", frozenset()):
                versions.setdefault(name, set()).add(file.now())
    return versions


@dataclass
class Verdict:
    states: int = 0
    faults: list[str] = field(default_factory=list)


def judge(record: Record, judge: Judge, *, without: str | None = None, first: bool = False) -> Verdict:
    """All states at all moments, each once for all that was told; only up to the first bad one, if that is enough."""
    verdict, seen = Verdict(), set[object]()
    with working_on(Unsynced()):
        for drive, told in record.moments(without=without):
            for state in drive.states():
                key = (len(told), frozenset(state.items()))
                if key in seen:
                    continue
                seen.add(key)
                try:
                    faults = judge.faults(state, told)
                except (CheckpointError, ValueError) as problem:
                    faults = [f"{type(problem).__name__}: {problem}"]
                if faults:
                    verdict.faults.append("; ".join(faults))
                    if first:
                        return verdict
    verdict.states = len(seen)
    return verdict


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--seed", type=int, default=1, help="nothing is left to chance here: all states are tried")
    asked = parser.parse_args()
    begin = time.perf_counter()
    states, faults, seen, sites = 0, list[str](), set[str](), set[str]()
    with tempfile.TemporaryDirectory(dir=quick_place()) as place, a_world(Path(place)) as world:
        for kind in KINDS:
            record = Record.of(kind(world))
            reader = Judge(record)
            verdict = judge(record, reader)
            states, faults = states + verdict.states, faults + verdict.faults
            print(f"{kind.name:72} {verdict.states - len(verdict.faults):6} of {verdict.states}")
            for fault, count in Counter(verdict.faults).most_common(5):
                print(f"  {count} times: {fault}")
            sites |= {*record.sites()}
            seen |= {site for site in record.sites() if judge(record, reader, without=site, first=True).faults}
    for site in sorted(sites):
        print(f"  without the sync in {site:40} {'it is seen' if site in seen else 'NOTHING IS SEEN'}")
    seconds = round(time.perf_counter() - begin, 1)
    return told("power_test", [
        Promise(promise=what, tried=tried, failed=failed, seed=asked.seed, seconds=seconds)
        for what, tried, failed in (("states after a power loss: readable", states, len(faults)),
                                    ("sync sites whose absence is seen", len(sites), len(sites - seen)))
    ])  # fmt: skip


KINDS: tuple[type[Scenario], ...] = (Overwriting, Training, Resuming, Preparing, PreparingPairs)

if __name__ == "__main__":
    sys.exit(main())
