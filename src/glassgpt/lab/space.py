"""The search space of a sweep: a range or a list of choices for each setting, and what they make of a configuration.

How people write it is read in `search.py`; how the next combination is found is told in `choosing.py`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from glassgpt import settings
from glassgpt.config import RunConfig
from glassgpt.errors import ConfigError
from glassgpt.names import TRANSLATIONS

Value: TypeAlias = "bool | int | float | str | None"

HEAD_WIDTH = "head_width"  # searched instead of d_model, which is then n_heads times as wide: every combination fits
TRIED = 200  # combinations drawn to see what is possible


@dataclass(frozen=True, kw_only=True)
class Range:
    """From low to high, both included; evenly, or (log) evenly in the logarithm."""

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    def plain(self) -> dict[str, Any]:
        more = {"log": True} if self.log else {"step": self.step} if self.step is not None else {}
        return {"low": self.low, "high": self.high, **more}

    def draw(self, rng: random.Random) -> float:
        """Some value of the range, to see what is possible; trials are chosen with more thought."""
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        elif self.step is not None:
            value = self.low + self.step * rng.randint(0, int((self.high - self.low) / self.step + 1e-9))
        else:
            value = rng.uniform(self.low, self.high)
        return round(value) if self.whole else value


@dataclass(frozen=True, kw_only=True)
class Choices:
    """One of a few values."""

    name: str
    values: tuple[Value, ...]

    def plain(self) -> dict[str, Any]:
        return {"choices": list(self.values)}

    def draw(self, rng: random.Random) -> Value:
        return rng.choice(self.values)


Dimension: TypeAlias = "Range | Choices"


@dataclass(frozen=True)
class Space:
    """All that is searched."""

    dimensions: tuple[Dimension, ...]

    @property
    def fields(self) -> set[str]:
        """The settings that differ between trials."""
        return {ours for dimension in self.dimensions for ours in fields_of(dimension)}

    def plain(self) -> dict[str, Any]:
        return {dimension.name: dimension.plain() for dimension in self.dimensions}

    def config(self, params: Mapping[str, Value], base: RunConfig) -> RunConfig:
        """The base with one combination over it; raises ConfigError where they do not fit together."""
        named, before = dict(params), settings.flat(base)
        if HEAD_WIDTH in named:
            named["d_model"] = int(named.pop(HEAD_WIDTH) or 0) * int(named.get("n_heads") or before["n_heads"])
        return settings.assemble(before | settings.canonical(named, place="search"))

    def possible_share(self, base: RunConfig) -> tuple[float, str]:
        """Which share of the combinations fits together, estimated, and why the others do not."""
        rng, problems = random.Random(0), []
        for _ in range(TRIED):
            try:
                self.config({dimension.name: dimension.draw(rng) for dimension in self.dimensions}, base)
            except ConfigError as problem:
                problems.append(str(problem))
        return 1 - len(problems) / TRIED, problems[0] if problems else ""


def fields_of(dimension: Dimension) -> set[str]:
    """The settings that a name stands for: block_size sets two."""
    if dimension.name == HEAD_WIDTH:
        return {"d_model"}
    if dimension.name in TRANSLATIONS:
        value = dimension.values[0] if isinstance(dimension, Choices) else dimension.low
        return set(TRANSLATIONS[dimension.name](value))
    return {dimension.name}
