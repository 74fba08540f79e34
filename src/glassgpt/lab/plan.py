"""What a sweep is asked to do: its base, its search space, its budget, and where all of it lies.

A file such as configs/sweep.yaml becomes a `Plan`, checked whole. What may differ when a sweep is gone on with, and
what would make it another one, is decided here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from glassgpt import settings
from glassgpt.config import Count, CountOrZero, Piece, Positive, field
from glassgpt.errors import ConfigError, did_you_mean
from glassgpt.lab.search import UNSEARCHABLE, read_space
from glassgpt.lab.space import HEAD_WIDTH, Space
from glassgpt.runs import RUNS
from glassgpt.training.chosen import folder_of
from glassgpt.yamlfile import read_table

FILE = "sweep.yaml"
HEAD = "# This sweep, whole. `glassgpt sweep --config THIS` goes on with it.\n"
FREE = UNSEARCHABLE.keys() - {
    "data",
    "text_column",
    "fallback",
    "val_fraction",
    "eval_batches",
}  # may differ between two starts


class Budget(Piece):
    """how much is tried, and where it lies"""

    trials: Count = field(12, "how many combinations are tried, over all processes and starts")
    minutes: Positive | None = field(None, "how long this start may take; left out, until all trials are done")
    pruning: Literal["none", "median", "hyperband"] = field("median", "how hopeless trials are stopped early")
    pruning_warmup: CountOrZero = field(0, "steps that every trial may take before it can be pruned")
    pruning_after: CountOrZero = field(4, "trials that must be finished before one is pruned (median)")
    seed: CountOrZero = field(1, "of what is tried; the trainings have their own, in base")
    storage: str | None = field(None, "a file, or an URL such as sqlite:///x.db; left out, sweep.journal in out")
    out: str | None = field(None, "the sweep's folder; left out, runs/sweep- and the name of the data")


@dataclass(frozen=True, kw_only=True)
class Plan:
    base: settings.Settings
    space: Space
    budget: Budget
    folder: Path

    @property
    def name(self) -> str:
        """Of the study in its storage: the same on every machine that shares it."""
        return self.folder.name

    @property
    def storage(self) -> str:
        return self.budget.storage or str(self.folder / "sweep.journal")

    def identity(self) -> dict[str, Any]:
        """What makes trials comparable; flat, so that a difference has a name."""
        base = {name: value for name, value in settings.flat(self.base.config).items() if name not in FREE}
        searched = {f"search: {name}": plain for name, plain in self.space.plain().items()}
        whole = {name: value for name, value in base.items() if name not in self.space.fields} | searched
        result: dict[str, Any] = json.loads(json.dumps(whole))
        return result

    def to_yaml(self) -> str:
        base = {name: value for name, value in settings.flat(self.base.config).items() if name in self.base.origins}
        base = {name: value for name, value in base.items() if name != "out"}
        budget = self.budget.model_dump() | {"minutes": None, "out": str(self.folder)}  # each start has its own minutes
        whole = {"base": base, "search": self.space.plain(), **budget}
        return HEAD + yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)


def default_file() -> Path:
    """configs/sweep.yaml of the package."""
    installed = Path(settings.__file__).parent / "configs" / FILE  # in a wheel; else the repository's own
    return installed if installed.is_file() else Path(settings.__file__).parents[2] / "configs" / FILE


def read_plan(file: Path, *, budget: Mapping[str, Any], flags: Mapping[str, Any]) -> Plan:
    """A sweep's file, with what was given beside it: `budget` over its own keys, `flags` over its base."""
    content = _read(file)
    known = {"base", "search", *Budget.model_fields}
    for name in content:
        if name not in known:
            inside = "; settings belong under base:" if name in settings.known_names() else did_you_mean(name, known)
            raise ConfigError(f"{file}: unknown key {name!r}{inside}")
    space = read_space(content.get("search"), place=str(file))
    base = _base(content.get("base") or {}, flags, space, str(file))
    own = {name: value for name, value in content.items() if name in Budget.model_fields}
    limits = Budget(**(own | {name: value for name, value in budget.items() if value is not None}))
    folder = Path(limits.out) if limits.out else RUNS / f"sweep-{folder_of(base.config.but(out=None)).name}"
    plan = Plan(base=base, space=space, budget=limits, folder=folder)
    share, why = space.possible_share(base.config)
    if not share:
        raise ConfigError(f"{file}: no combination of the search is possible: {why}")
    return plan


def _read(file: Path) -> dict[str, Any]:
    content = read_table(file, kind="sweep file", hint=f"an example is {default_file()}")
    return {name.replace("-", "_"): value for name, value in content.items()}


def _base(asked: Any, flags: Mapping[str, Any], space: Space, place: str) -> settings.Settings:
    """The settings that all trials share: a preset or a file, or settings by name, and flags over them."""
    if not isinstance(asked, Mapping):
        raise ConfigError(f"{place}: base should hold `name: value` lines, or preset: NAME")
    own = {str(name): value for name, value in asked.items()}
    preset, config = own.pop("preset", None), own.pop("config", None)
    over = settings.canonical(flags, place="the command")
    for name in over:
        if name in space.fields:
            searched = HEAD_WIDTH if name == "d_model" and HEAD_WIDTH in space.plain() else name
            raise ConfigError(f"{searched} is searched by {place}; leave --{name.replace('_', '-')} out, "
                              f"or take it out of search")  # fmt: skip
    layer = settings.canonical(own, place=f"{place}, base")
    if "data" in over:  # a way out of the data that the file names is none for this
        layer.pop("fallback", None)
    layer |= over
    resolved = settings.resolve(preset=preset, file=config, flags=layer)
    origins = {name: "the sweep's base" if origin == "flag" else origin for name, origin in resolved.origins.items()}
    return settings.Settings(resolved.config, origins)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """`"d_model was 64 and is now 32"`, or nothing where both are the same."""
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return "; ".join(f"{name} was {_said(before, name)} and is now {_said(now, name)}" for name in changed)


def _said(values: Mapping[str, Any], name: str) -> str:
    return json.dumps(values[name]).replace('"', "") if name in values else "not there"
