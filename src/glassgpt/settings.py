"""Where a configuration's values come from: defaults < preset or file < flags.

People arrive with names from other projects; the table in `names.py` translates them. Every value remembers
its origin, so that `glassgpt info RUN --config` can say why it is what it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic.fields import FieldInfo

from glassgpt.config import DataConfig, ModelConfig, Piece, RunConfig, SamplingConfig, TrainingConfig
from glassgpt.errors import ConfigError, did_you_mean
from glassgpt.names import ALIASES, PAIRS, TRANSLATIONS
from glassgpt.shortcut import shorter
from glassgpt.yamlfile import read_table

PIECES: dict[str, type[Piece]] = {"model": ModelConfig, "data": DataConfig, "training": TrainingConfig}


@dataclass(frozen=True)
class Settings:
    """A resolved configuration, and for each value that is no default the place it came from."""

    config: RunConfig
    origins: Mapping[str, str]


def fields() -> Iterator[tuple[str, str, FieldInfo]]:
    """Every setting of a run as (piece, name, field), in the order in which people should meet them."""
    for piece, kind in PIECES.items():
        for name, info in kind.model_fields.items():
            yield piece, name, info
    for name, info in RunConfig.model_fields.items():
        if name not in PIECES:
            yield "run", name, info


def known_names() -> list[str]:
    return [name for _, name, _ in fields()] + [*ALIASES, *TRANSLATIONS, *PAIRS]


def resolve(
    *, preset: str | None = None, file: Path | str | None = None, flags: Mapping[str, Any] | None = None
) -> Settings:
    """Defaults, then a preset or a file, then flags; checked as a whole."""
    if preset is not None and file is not None:
        raise ConfigError(f"both --preset {preset} and --config {file} are given; choose one, and put flags over it")
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    layers = [(f"preset {preset}", read_preset(preset))] if preset is not None else []
    layers += [(str(file), read_yaml(file))] if file is not None else []
    layers += [("flag", canonical(flags or {}, place="the command"))]
    for origin, layer in layers:
        if "data" in layer:  # a way out of the data that was named before is none for this
            values.pop("fallback", None)
            origins.pop("fallback", None)
        values |= layer
        origins |= dict.fromkeys(layer, origin)
    if "max_steps" in layers[-1][1] and "warmup_steps" not in layers[-1][1]:
        _warm_up_in_time(values, origins)
    config = _assembled(values, origins)
    shortcut = shorter(config)
    return Settings(assemble(flat(config) | shortcut), origins | dict.fromkeys(shortcut, "GLASSGPT_MAX_STEPS"))


def _assembled(values: Mapping[str, Any], origins: Mapping[str, str]) -> RunConfig:
    """As `assemble`; a value that is refused, and that nobody typed, is told with its file or preset."""
    try:
        return assemble(values)
    except ConfigError as problem:
        name = str(problem).partition("=")[0]
        origin = origins.get(name, "flag")
        raise ConfigError(str(problem) if origin == "flag" else f"{problem} ({name} is set by {origin})") from None


def _warm_up_in_time(values: dict[str, Any], origins: dict[str, str]) -> None:
    """A preset's warm-up was meant for the preset's length; a run made much shorter by a flag has a shorter one."""
    steps, warmup = values["max_steps"], values.get("warmup_steps", 0)
    if isinstance(warmup, int) and str(steps).isdecimal() and warmup > int(steps):
        values["warmup_steps"] = int(steps) // 10
        origins["warmup_steps"] = f"a tenth of max_steps, instead of {warmup}"


def assemble(values: Mapping[str, Any]) -> RunConfig:
    """`assemble({"d_model": 64, "data": ["book.txt"]})`: flat canonical names to the frozen whole."""
    pieces: dict[str, dict[str, Any]] = {"model": {}, "data": {}, "training": {}, "run": {}}
    homes = {name: piece for piece, name, _ in fields()}
    for name, value in values.items():
        pieces[homes[name]][name] = value
    whole = pieces.pop("run")
    parts: dict[str, Any] = {piece: PIECES[piece](**inner) for piece, inner in pieces.items()}
    return RunConfig(**parts, **whole)


def flat(config: RunConfig) -> dict[str, Any]:
    """The inverse of `assemble`: every value under its one name."""
    dump = config.model_dump(mode="json")
    return {name: (dump if piece == "run" else dump[piece])[name] for piece, name, _ in fields()}


def canonical(values: Mapping[str, Any], *, place: str) -> dict[str, Any]:
    """Everybody's names to ours. `canonical({"n_embd": 64}, place="x.yaml") == {"d_model": 64}`."""
    named = {str(name).replace("-", "_"): value for name, value in values.items()}
    result: dict[str, Any] = {}
    for name, value in _steps_from_epochs(named).items():
        for ours, translated in _translate(name, value, place).items():
            if ours in result and result[ours] != translated:
                twice = f"{place} sets {ours} twice, to {result[ours]!r} and (as {name}) to {translated!r}"
                raise ConfigError(f"{twice}; leave one of them out")
            result[ours] = translated
    return result


def _translate(name: str, value: Any, place: str) -> dict[str, Any]:
    if name in TRANSLATIONS:
        try:
            return TRANSLATIONS[name](value)
        except ConfigError:
            raise ConfigError(f"{name}={value!r} is neither true nor false; give one of these") from None
    ours = ALIASES.get(name, name)
    for _, known, info in fields():
        if known == ours:
            return {ours: _plain(value, info)}
    raise ConfigError(f"{place}: unknown setting {name!r}{did_you_mean(name, known_names())}")


def _plain(value: Any, info: FieldInfo) -> Any:
    if value is None or (isinstance(value, str) and value.lower() in {"none", "null"} and info.default is None):
        return info.default
    if isinstance(info.default, tuple) and isinstance(value, str):
        return (value,)
    if isinstance(value, bool) and {"on", "off"} <= set(get_args(info.annotation)):  # YAML reads `compile: on` as true
        return "on" if value else "off"
    return value


def _steps_from_epochs(values: dict[str, Any]) -> dict[str, Any]:
    given = [name for name in PAIRS if name in values]
    if not given:
        return values
    if len(given) == 1:
        missing = next(name for name in PAIRS if name not in values)
        raise ConfigError(
            f"{given[0]}={values[given[0]]} alone does not say how many steps; give {missing} or max_steps"
        )
    try:
        epochs, iters = (int(values[name]) for name in PAIRS)
    except (TypeError, ValueError):
        given_values = f"epochs={values['epochs']!r} x iters_per_epoch={values['iters_per_epoch']!r}"
        raise ConfigError(f"{given_values} are no whole numbers; give such as 5 x 100") from None
    return {name: value for name, value in values.items() if name not in PAIRS} | {"max_steps": epochs * iters}


def read_yaml(path: Path | str) -> dict[str, Any]:
    """A configuration file's settings under our names."""
    hint = f"presets are: {', '.join(presets())}"
    return canonical(read_table(Path(path), kind="configuration file", hint=hint), place=str(path))


def _preset_folder() -> Path:
    installed = Path(__file__).parent / "configs"  # in a wheel; an editable install reads the repository's own
    return installed if installed.is_dir() else Path(__file__).parents[2] / "configs"


def presets() -> dict[str, str]:
    """Every preset's name and the one line that says what it is for."""
    files = sorted(file for file in _preset_folder().glob("*.yaml") if not file.stem.startswith("sweep"))
    return {file.stem: file.read_text(encoding="utf-8").split("\n", 1)[0].lstrip("# ") for file in files}


def read_preset(name: str) -> dict[str, Any]:
    if name not in presets():
        raise ConfigError(
            f"unknown preset {name!r}; presets are: {', '.join(presets())}{did_you_mean(name, presets())}"
        )
    return read_yaml(_preset_folder() / f"{name}.yaml")


def to_yaml(config: RunConfig, origins: Mapping[str, str]) -> str:
    """The whole configuration as a file that `--config` takes back, each chosen value with its origin."""
    lines = ["# The resolved configuration of this run. `glassgpt train --config THIS` repeats it."]
    values, last = flat(config), ""
    for piece, name, _ in fields():
        if piece != last:
            lines += ["", f"# {'the run' if piece == 'run' else PIECES[piece].__doc__}"]
            last = piece
        text = f"{name}: {_yaml_value(values[name])}"
        lines.append(f"{text}  # {origins[name]}" if name in origins else text)
    return "\n".join(lines) + "\n"


def _yaml_value(value: Any) -> str:
    """On one line, whatever it holds: line breaks are written as escapes."""
    if isinstance(value, str):
        if value.isidentifier() and yaml.safe_load(value) == value:
            return value
        return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=1 << 30).strip()
    if isinstance(value, list):
        return f"[{', '.join(_yaml_value(item) for item in value)}]"
    return yaml.safe_dump(value).split("\n", 1)[0]


def sampling(values: Mapping[str, Any]) -> SamplingConfig:
    """Sampling settings under anybody's names."""
    named = {ALIASES.get(name, name): value for name, value in values.items() if value is not None}
    for name in named:
        if name not in SamplingConfig.model_fields:
            raise ConfigError(f"unknown setting {name!r}{did_you_mean(name, SamplingConfig.model_fields)}")
    return SamplingConfig(**{name: _plain(value, SamplingConfig.model_fields[name]) for name, value in named.items()})
