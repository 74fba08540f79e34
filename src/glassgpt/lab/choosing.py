"""Which combination comes next, and which trial is hopeless: Optuna's part of a sweep.

What is tried is a function of the sweep's seed, the trial's number and the trials before it: a sweep that was stopped
and gone on with tries what it would have tried, and two processes never draw the same.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from glassgpt.lab.plan import Plan
from glassgpt.lab.space import Choices, Dimension, Space, Value


class Chooser(BaseSampler):
    """TPE (a model of where good trials lie), with chance begun anew for each trial."""

    def __init__(self, *, seed: int, trials: int) -> None:
        self._seed = seed
        self._first = max(
            3, min(10, trials // 3)
        )  # so many are drawn at random, before there is something to learn from
        self._inner = self._tpe(-1)

    def _tpe(self, number: int) -> TPESampler:
        digest = hashlib.blake2b(f"{self._seed}/{number}/sweep".encode(), digest_size=4).digest()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constant_liar was an experiment before Optuna 5
            return TPESampler(
                seed=int.from_bytes(digest, "little"), n_startup_trials=self._first, constant_liar=True
            )  # a liar spreads what processes try at the same time

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._inner = self._tpe(trial.number)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._inner.after_trial(study, trial, state, values)


def pruner_for(plan: Plan) -> BasePruner:
    budget = plan.budget
    if budget.pruning == "median":
        return MedianPruner(n_startup_trials=budget.pruning_after, n_warmup_steps=budget.pruning_warmup)
    if budget.pruning == "hyperband":
        steps = plan.base.config.training.max_steps
        first = min(max(1, budget.pruning_warmup), steps)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return HyperbandPruner(min_resource=first, max_resource=steps)
    return NopPruner()


def suggest(trial: Trial, space: Space) -> dict[str, Value]:
    """The trial's combination; what was drawn for it before a process died is kept."""
    return {dimension.name: _suggest(trial, dimension) for dimension in space.dimensions}


def _suggest(trial: Trial, dimension: Dimension) -> Value:
    name = dimension.name
    if isinstance(dimension, Choices):
        choice: Value = trial.suggest_categorical(name, dimension.values)
        return choice
    low, high, log = dimension.low, dimension.high, dimension.log
    if dimension.whole:
        return trial.suggest_int(name, int(low), int(high), step=int(dimension.step or 1), log=log)
    return trial.suggest_float(name, low, high, step=dimension.step, log=log)


def wants(dimension: Dimension, value: Any) -> bool:
    """Whether the search holds the value."""
    if isinstance(dimension, Choices):
        return any(type(value) is type(choice) and value == choice for choice in dimension.values)
    if isinstance(value, bool) or not isinstance(value, int | float) or not dimension.low <= value <= dimension.high:
        return False
    places = (value - dimension.low) / dimension.step if dimension.step else 0.0
    return abs(places - round(places)) < 1e-9
