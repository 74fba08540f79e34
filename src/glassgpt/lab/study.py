"""The trials of a sweep, shared among processes: who does which, what came out, which have lost their process.

A trial is claimed under one lock, and belongs to its process while that holds the trial's own lock; the operating
system frees it when the process ends, however it ends. On another machine such a lock may not be seen: there a trial
counts as left when nothing was heard of it for a while. A left trial is claimed again, under its old number.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from glassgpt import settings
from glassgpt.errors import RunError
from glassgpt.lab.choosing import Chooser, pruner_for, suggest, wants
from glassgpt.lab.plan import Plan, differences
from glassgpt.lab.space import Value
from glassgpt.lab.trials import TrialRecord

HEARTBEAT_S = 60.0
SILENCE_S = 900.0  # a trial of another machine that was not heard of for so long has lost its process
MOST_DEATHS = 3  # a trial whose process was killed so often may be the reason, and is not begun again
STATES = {TrialState.COMPLETE: "finished", TrialState.RUNNING: "running", TrialState.WAITING: "waiting"}


class Board:
    """All trials of one sweep. `board.claim()` is the next one to do, or None."""

    def __init__(self, plan: Plan, storage: BaseStorage) -> None:
        """Refuses a sweep that began with other settings, before anything is changed."""
        self.plan, self._storage, self._host = plan, storage, socket.gethostname()
        self._shares_files = "://" not in plan.storage
        lock = f"{plan.storage}.claim" if self._shares_files else plan.folder / ".claim"
        Path(lock).parent.mkdir(parents=True, exist_ok=True)
        self._claiming = FileLock(lock)
        with self._claiming:
            self._study = self._open()

    def records(self) -> list[TrialRecord]:
        return [_record(trial) for trial in self._trials()]

    def claim(self) -> Claim | None:
        """A trial that lost its process, or a new one while the budget lasts; under a lock, so never the same twice."""
        with self._claiming:
            for trial in self._trials():
                if trial.state is TrialState.RUNNING and (lock := self._lock_if_left(trial)):
                    claim = self._claim(trial.number, lock)
                    claim.again = True
                    if not self._was_its_own_death(trial, claim):
                        return claim
            trials = self._trials()
            if len(trials) >= self.plan.budget.trials and all(t.state is not TrialState.WAITING for t in trials):
                return None
            number = self._study.ask().number
            claim = self._claim(number, self._lock_of(number))
            return None if self._is_surplus(claim) else claim

    def neighbours(self) -> list[int]:
        """Trials that other processes of this machine are doing now."""
        mine = [t for t in self._trials() if t.user_attrs.get("host", self._host) == self._host]
        return [trial.number for trial in mine if trial.state is TrialState.RUNNING]

    def importances(self) -> dict[str, float]:
        """How much each setting decides whether a trial is among the best quarter (PED-ANOVA); they sum to one."""
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        evaluator = PedAnovaImportanceEvaluator(target_quantile=0.25)
        return dict(get_param_importances(self._study, evaluator=evaluator))

    def _open(self) -> optuna.Study:
        plan, name = self.plan, self.plan.name
        known = any(study.study_name == name for study in self._storage.get_all_studies())
        if not known and any(plan.folder.glob("trial-*")):
            raise RunError(f"{plan.folder} holds trials of another sweep, and {plan.storage} knows nothing of them; "
                           f"choose another --out")  # fmt: skip
        open_study = optuna.load_study if known else optuna.create_study
        study = open_study(
            storage=self._storage, study_name=name,
            sampler=Chooser(seed=plan.budget.seed, trials=plan.budget.trials), pruner=pruner_for(plan),
        )  # fmt: skip
        before = study.user_attrs.get("identity")
        if before is None:
            own = settings.flat(plan.base.config)
            if all(one.name in own and wants(one, own[one.name]) for one in plan.space.dimensions):
                params = {dimension.name: own[dimension.name] for dimension in plan.space.dimensions}
                study.enqueue_trial(
                    params, skip_if_exists=True
                )  # the base itself comes first: nothing worse can be best
            study.set_user_attr("identity", plan.identity())
        elif changed := differences(before, plan.identity()):
            raise RunError(f"the sweep in {plan.folder} began with other settings: {changed}; choose another --out, "
                           f"or take them back")  # fmt: skip
        return study

    def _trials(self) -> list[FrozenTrial]:
        return [trial for trial in self._study.get_trials(deepcopy=False) if "surplus" not in trial.user_attrs]

    def _lock_of(self, number: int) -> FileLock:
        folder = self.plan.folder / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"trial-{number:03}")
        lock.acquire(timeout=0)
        return lock

    def _lock_if_left(self, trial: FrozenTrial) -> FileLock | None:
        try:
            lock = self._lock_of(trial.number)
        except Timeout:
            return None
        attrs = trial.user_attrs
        began = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        silent = time.time() - attrs.get("seen", began) > SILENCE_S
        # Who has not yet signed did so under the lock that we hold now, if it is one lock for all.
        ours = bool(attrs["host"] == self._host) if "host" in attrs else self._shares_files
        if silent or ours:
            return lock
        lock.release()
        return None

    def _claim(self, number: int, lock: FileLock) -> Claim:
        study = self._storage.get_study_id_from_name(self.plan.name)
        trial = Trial(self._study, self._storage.get_trial_id_from_study_id_trial_number(study, number))
        claim = Claim(self._study, trial, lock, params=suggest(trial, self.plan.space))
        claim.sign(self._host)
        return claim

    def _was_its_own_death(self, trial: FrozenTrial, claim: Claim) -> bool:
        deaths = int(trial.user_attrs.get("deaths", 0)) + (0 if trial.user_attrs.get("stopped") else 1)
        claim.note(deaths=deaths, stopped=False)
        if deaths >= MOST_DEATHS:
            claim.fail(f"its process was killed {deaths} times")
        return deaths >= MOST_DEATHS

    def _is_surplus(self, claim: Claim) -> bool:
        """Machines that share a database but no folder may have begun the last trial both: the later one gives way."""
        numbers = [trial.number for trial in self._trials()]
        if numbers.index(claim.number) < self.plan.budget.trials:
            return False
        claim.note(surplus=True)
        claim.tell(state=TrialState.FAIL)
        return True


class Claim:
    """A trial that this process does."""

    def __init__(self, study: optuna.Study, trial: Trial, lock: FileLock, *, params: dict[str, Value]) -> None:
        self.number, self.params = trial.number, params
        self.again = False
        self._study, self._trial, self._lock = study, trial, lock
        self._reported = set(study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        self._seen = 0.0

    def sign(self, host: str) -> None:
        self.note(host=host, pid=os.getpid())
        self.beat()

    def beat(self) -> None:
        """Let other machines hear that the trial is alive; seldom enough to cost nothing."""
        if time.time() - self._seen > HEARTBEAT_S:
            self._seen = time.time()
            self.note(seen=self._seen)

    def report(self, step: int, value: float) -> bool:
        """Whether the trial is hopeless. A resumed trial says again what it had said: heard once."""
        if step not in self._reported:
            self._trial.report(value, step)
            self._reported.add(step)
        return bool(self._trial.should_prune())

    def finish(self, value: float, *, steps: int, seconds: float) -> None:
        self.note(steps=steps, seconds=seconds)
        self.tell(value=value)

    def prune(self, *, steps: int, seconds: float) -> None:
        self.note(steps=steps, seconds=seconds)
        self.tell(state=TrialState.PRUNED)

    def fail(self, why: str, *, steps: int = 0, seconds: float = 0.0) -> None:
        """Pruned, for Optuna: then it learns to keep away, which it does not from its own kind of failure."""
        self.note(why=why, steps=steps, seconds=seconds)
        self.tell(state=TrialState.PRUNED)

    def leave(self, *, died: bool = False) -> None:
        """Stopped before its end; whoever comes next goes on with it."""
        self.note(stopped=not died)
        self._lock.release()

    def note(self, **facts: Any) -> None:
        for name, value in facts.items():
            self._trial.set_user_attr(name, value)

    def tell(self, *, value: float | None = None, state: TrialState | None = None) -> None:
        self._study.tell(self.number, value, state=state, skip_if_finished=True)
        self._lock.release()


def _record(trial: FrozenTrial) -> TrialRecord:
    facts = trial.user_attrs
    state = STATES.get(trial.state, "failed" if "why" in facts else "pruned")
    where = f"{facts['host']}, process {facts['pid']}" if "pid" in facts else ""
    return TrialRecord(
        number=trial.number, state=state, value=None if state == "failed" else trial.value, params=trial.params,
        steps=facts.get("steps", 0), seconds=facts.get("seconds", 0.0), why=facts.get("why", ""), where=where,
    )  # fmt: skip
