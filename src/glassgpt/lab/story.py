"""What a run tells of itself, as plain values that JSON can hold: for a page that shows runs.

Only the files of its folder are read, without torch, so that it can be asked often and while the run goes on: whole
lines of the log count, and what is damaged or foreign is left out, or refused in one line. Where the files lie is told
in `runs.py`; how a page gets the values, in `serve/`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from glassgpt import settings
from glassgpt.config import RunConfig
from glassgpt.data import tales
from glassgpt.errors import GlassgptError, RunError
from glassgpt.jsonfile import read_limited
from glassgpt.lab.evaluations import Evaluation, evaluations_of
from glassgpt.lab.exam import mark
from glassgpt.lab.logs import Log, read_log
from glassgpt.model.count import count_parameters, form_of
from glassgpt.runs import RunFolder
from glassgpt.training.samplefile import samples_in

COLUMNS = ("step", "tokens", "seconds", "train_loss", "val_loss", "learning_rate", "gradient_norm", "tokens_per_s",
           "floor")  # fmt: skip
COUNTS = {"step", "tokens"}  # of which all digits count
STILL_GOING_S = 120.0  # a killed process leaves its mark behind, but writes no more lines
MOST_LOG_BYTES = MOST_SAMPLE_BYTES = 64 << 20  # half a million lines
MOST_CONFIG_BYTES = 24_000
SAME_UNIT = 1e-9  # relative: two figures that came of one division and are equal but for rounding


def summary_of(folder: RunFolder) -> dict[str, Any]:
    """A run in a few figures; None for what is not known (yet, or because a file is damaged)."""
    if not folder.is_run():
        raise RunError(f"{folder.path} is no run folder; name one such as runs/tales")
    log, config = _log_of(folder), _config_of(folder)
    best = log.best() if log else None
    changed = _changed(folder)
    is_fresh = changed is not None and time.time() - changed < STILL_GOING_S
    return {
        "name": _sayable(folder.path.resolve().name),
        "step": int(max(log.columns["step"], default=0)) if log else None,
        "max_steps": config.training.max_steps if config else None,
        "best": {"step": int(best[0]), "val_loss": _rounded(best[1])} if best else None,
        **{name: _last(log, name) for name in ("floor", "train_loss", "tokens_per_s", "seconds")},
        "changed": changed,
        "going": is_fresh and folder.owner.is_file(),
        "data": _sayable(" ".join(config.data.data)) if config else None,
        "tales": _tells_tales(config),
        "form": form_of(config.model) if config else None,
        "parameters": _parameters(config),
    }


def columns_of(log: Log) -> dict[str, list[float | None]]:
    """`{"step": [10, 20], "val_loss": [None, 1.5], ...}`, all of one length; None where a line holds no number."""
    nothing = [math.nan] * len(log.columns["step"])
    columns = {name: log.columns.get(name, nothing) for name in COLUMNS}
    return {name: [_whole(one) if name in COUNTS else _rounded(one) for one in columns[name]] for name in COLUMNS}


def log_of(folder: RunFolder) -> Log:
    """For `columns_of`; refused where it is missing, damaged, or no file to read from."""
    if folder.log.exists() and not folder.log.is_file():
        raise RunError(f"log {folder.log} cannot be read: it is no ordinary file")
    if folder.log.exists() and folder.log.stat().st_size > MOST_LOG_BYTES:
        raise RunError(f"log {folder.log} cannot be read: it has more than {MOST_LOG_BYTES:,} bytes")
    return read_log(folder.log)


def samples_of(folder: RunFolder) -> list[dict[str, Any]]:
    """`[{"step": 10, "text": "..."}]`; none where nothing was written yet."""
    try:
        content, _, _ = read_limited(folder.samples, MOST_SAMPLE_BYTES).partition(b"\0")
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise RunError(f"{folder.samples} cannot be read: {problem.strerror}") from None
    return [{"step": step, "text": text} for step, text in samples_in(content.decode("utf-8", "replace"))]


def marks_of_samples(samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the exam says of a tales run's samples. A short early one is cut off, and marked as it stands there."""
    return [{"step": one["step"], **asdict(mark(tales.apart(one["text"])))} for one in samples]


def settings_of(folder: RunFolder) -> list[dict[str, Any]]:
    """Each setting with its value and origin, in the order in which people should meet them."""
    config = _read_config(folder)
    origins = _origins_in(folder, config)
    return [
        {"name": name, "value": _sayable(value), "origin": _sayable(origins.get(name, "default"))}
        for name, value in settings.flat(config).items()
    ]


def references_of(folder: RunFolder) -> list[dict[str, Any]]:
    """Losses to hold the run's against, in the unit of its log: nats per character for tales, per token otherwise."""
    config, found = _config_of(folder), list[Evaluation]()
    with suppress(GlassgptError):
        found = evaluations_of(folder)
    references = list(_guessing(config))
    for one in found[-1:]:
        alike = math.isclose(one.loss, one.nats_per_character, rel_tol=SAME_UNIT)  # a token is a character
        if _tells_tales(config) or alike:
            references += [(rival.name, rival.nats_per_character) for rival in one.rivals]
            references += [("the floor of all held-out stories", one.floor)] if one.floor is not None else []
    return [{"name": _sayable(name), "loss": _rounded(loss)} for name, loss in references]


def _guessing(config: RunConfig | None) -> Iterator[tuple[str, float]]:
    """What a model reaches that knows nothing. For tales in pairs of bytes, the folder does not tell the unit."""
    if config is None or not config.model.vocab_size or (_tells_tales(config) and config.data.tokenizer != "char"):
        return
    yield f"guessing evenly among {config.model.vocab_size:,}", math.log(config.model.vocab_size)


def _tells_tales(config: RunConfig | None) -> bool:
    return config is not None and tales.are_all_of(config.data.data)


def _parameters(config: RunConfig | None) -> int | None:
    if config is None or config.model.vocab_size is None:
        return None
    return count_parameters(config.model).total


def _read_config(folder: RunFolder) -> RunConfig:
    return settings.assemble(settings.read_yaml(folder.config))


def _config_of(folder: RunFolder) -> RunConfig | None:
    with suppress(GlassgptError):
        return _read_config(folder)
    return None


def _origins_in(folder: RunFolder, config: RunConfig) -> dict[str, str]:
    """They stand as comments behind the values, which are written again to see where they end."""
    try:
        lines = read_limited(folder.config, MOST_CONFIG_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return {}
    written = {line.partition(":")[0]: line for line in lines}
    values = {line.partition(":")[0]: line for line in settings.to_yaml(config, {}).splitlines()}
    begins = {name: f"{line}  # " for name, line in values.items()}
    return {
        name: written[name][len(begin) :]
        for name, begin in begins.items()
        if name in written and written[name].startswith(begin)
    }


def _log_of(folder: RunFolder) -> Log | None:
    with suppress(GlassgptError, OSError):
        return log_of(folder)
    return None


def _changed(folder: RunFolder) -> float | None:
    with suppress(OSError):
        return folder.log.stat().st_mtime
    return None


def _last(log: Log | None, column: str) -> float | None:
    """The newest that was measured."""
    values = log.points(column)[1] if log else []
    return _rounded(values[-1]) if values else None


def _rounded(value: float) -> float | None:
    """Six digits are what the log has; nan and infinity are no JSON."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _whole(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None


def _sayable(value: Any) -> Any:
    """A name of a file may hold bytes that are no text, and YAML half a character: neither can be sent."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return [_sayable(one) for one in value] if isinstance(value, list | tuple) else value
