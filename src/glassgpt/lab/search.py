"""`search:` in a sweep's file, read and checked before anything is written.

    search:
      learning_rate: {low: 1.0e-3, high: 1.0e-1, log: true}
      n_layers: [1, 2, 4]

Names may be anybody's, and each value that can be drawn is one that its setting takes. Whether settings fit together
shows only in the combinations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from glassgpt import settings
from glassgpt.errors import ConfigError, did_you_mean
from glassgpt.lab.space import HEAD_WIDTH, Choices, Dimension, Range, Space, Value, fields_of
from glassgpt.names import ALIASES, PAIRS, TRANSLATIONS

UNSEARCHABLE = {
    **dict.fromkeys(("data", "text_column", "fallback", "val_fraction"), "losses on different texts do not compare"),
    "eval_batches": "all trials are measured on the same text",
    **dict.fromkeys(("threads", "compile", "device"), "it changes the speed, not the loss"),
    **dict.fromkeys(("log_every", "save_every", "keep_every"), "it does not change the loss"),
    **dict.fromkeys(("sample_every", "sample_prompt"), "it does not change the loss"),
    **dict.fromkeys(("out", "publish", "tensorboard", "wandb", "wandb_project"), "it does not change the loss"),
}
WORDS = {"low", "high", "log", "step", "choices"}


def read_space(search: Any, *, place: str) -> Space:
    """`place` is the file, for messages."""
    if not isinstance(search, Mapping) or not search:
        raise ConfigError(f"{place}: search should name at least one setting, such as learning_rate: {{low: 1.0e-4, "
                          f"high: 1.0e-2, log: true}}")  # fmt: skip
    dimensions = tuple(_dimension(str(name), asked, f"{place}, search") for name, asked in search.items())
    seen: dict[str, str] = {}
    for dimension in dimensions:
        for ours in fields_of(dimension):
            if ours in seen:
                raise ConfigError(f"{place}: search sets {ours} twice, as {seen[ours]} and as {dimension.name}")
            seen[ours] = dimension.name
    return Space(dimensions)


def _dimension(name: str, asked: Any, place: str) -> Dimension:
    name = _known_name(name.replace("-", "_"), place)
    place = f"{place}: {name}"
    if isinstance(asked, list):
        asked = {"choices": asked}
    if not isinstance(asked, Mapping) or not asked.keys() & WORDS:
        raise ConfigError(f"{place}={asked!r} leaves no choice; write {{low: A, high: B}} or a list of choices (what "
                          f"stays as it is belongs to base)")  # fmt: skip
    for word in asked:
        if word not in WORDS:
            raise ConfigError(f"{place} has an unknown word {word!r}{did_you_mean(str(word), WORDS)}")
    dimension = _choices(name, asked, place) if "choices" in asked else _range(name, asked, place)
    for value in dimension.values if isinstance(dimension, Choices) else (dimension.low, dimension.high):
        _check(name, value, place)
    return dimension


def _known_name(name: str, place: str) -> str:
    if name in PAIRS:
        raise ConfigError(f"{place}: {name} alone is no number of steps; search max_steps")
    ours = ALIASES.get(name, name)
    if ours in UNSEARCHABLE:
        raise ConfigError(f"{place}: {name} cannot be searched: {UNSEARCHABLE[ours]}; set it in base")
    if ours != HEAD_WIDTH and ours not in TRANSLATIONS and ours not in _annotations():
        known = [*settings.known_names(), HEAD_WIDTH]
        raise ConfigError(f"{place}: unknown setting {name!r}{did_you_mean(name, known)}")
    return ours


def _choices(name: str, asked: Mapping[str, Any], place: str) -> Choices:
    if len(asked) > 1:
        raise ConfigError(f"{place} has choices and also {', '.join(sorted(asked.keys() - {'choices'}))}; take one way")
    values = asked["choices"]
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{place}: choices={values!r} should be a list of values")
    for value in values:
        if not isinstance(value, bool | int | float | str | None):
            raise ConfigError(f"{place}: the choice {value!r} is no single value")
    if len({(type(value), value) for value in values}) < len(values):
        raise ConfigError(f"{place}: choices={values!r} names a value twice")
    return Choices(name=name, values=tuple(values))


def _range(name: str, asked: Mapping[str, Any], place: str) -> Range:
    kind = _kind(name)
    if kind is None:
        raise ConfigError(f"{place} is no number, so it has no range; write a list of choices")
    for word in ("low", "high"):
        if word not in asked:
            raise ConfigError(f"{place} has no {word}; write {{low: A, high: B}}, or a list of choices")
    log, step = asked.get("log", False), asked.get("step")
    if not isinstance(log, bool):
        raise ConfigError(f"{place}: log={log!r} is neither true nor false")
    low, high = (_number(asked[word], kind, f"{place}: {word}") for word in ("low", "high"))
    step = None if step is None else _number(step, kind, f"{place}: step")
    if low > high:
        raise ConfigError(f"{place}: low={low} is above high={high}; exchange them")
    if log and low <= 0:
        raise ConfigError(f"{place}: low={low} has no logarithm; take a low above zero, or leave log out")
    if step is not None and log:
        raise ConfigError(f"{place} has a step and log: true; take one of them, or a list of choices")
    if step is not None and not 0 < step <= max(high - low, step if low == high else 0):
        raise ConfigError(f"{place}: step={step} does not fit between low={low} and high={high}")
    return Range(name=name, low=low, high=high, log=log, step=step, whole=kind is int)


def _number(value: Any, kind: type[int] | type[float], place: str) -> float:
    """YAML reads 1e-3 (without a point) as text: here it is the number that was meant."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{place}={value!r} is no number") from None
    if isinstance(value, bool) or not math.isfinite(number) or (kind is int and number != int(number)):
        raise ConfigError(f"{place}={value!r} is no {'whole ' if kind is int else ''}number")
    return int(number) if kind is int else number


def _kind(name: str) -> type[int] | type[float] | None:
    """`_kind("n_layers") is int`, `_kind("learning_rate") is float`; None for what is no number."""
    if name in {HEAD_WIDTH, "block_size", "context_length"}:
        return int
    annotation = _annotations().get(name)
    kinds = {annotation, *get_args(annotation)}
    for inner in [*kinds]:
        kinds |= set(get_args(inner))
    return next((kind for kind in (int, float) if kind in kinds), None)


def _annotations() -> dict[str, Any]:
    """Every setting's type with its bounds, such as `Annotated[int, Ge(1)]`."""
    return {name: info.rebuild_annotation() for _, name, info in settings.fields()}


def _check(name: str, value: Value, place: str) -> None:
    """A value that its own setting would never take; whether settings fit together is seen later."""
    if name == HEAD_WIDTH:
        values: dict[str, Any] = {"d_model": value}
    else:
        values = settings.canonical({name: value}, place=place)
    for ours, plain in values.items():
        try:
            TypeAdapter(_annotations()[ours]).validate_python(plain)
        except ValidationError as problem:
            reason = problem.errors()[0]["msg"].replace("Input should", "it should")
            raise ConfigError(f"{place}: {value!r} is impossible: {reason}") from None
