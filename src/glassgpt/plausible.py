"""What a checkpoint says of itself, held against what it can be, before anything is built on it.

A digest shows that a file is whole, and anybody can compute one. So settings become settings again through their own
checks, figures must be figures, and a model is built only when the weights beside it are the weights of that model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from torch import Tensor

from glassgpt.config import ModelConfig
from glassgpt.errors import CheckpointError
from glassgpt.model.build import build
from glassgpt.model.count import count_parameters
from glassgpt.settings import assemble, fields, flat

Whole = Annotated[int, Field(ge=0, lt=1 << 53)]  # what a float still counts exactly
FEW_LAYERS = 24  # are quicker built than looked at
SMALL_TABLE = 1 << 21  # numbers: of positions, which are computed and stand in no file


class Metrics(BaseModel):
    """Those that have a meaning later; others may stand beside them."""

    model_config = ConfigDict(extra="allow", strict=True)

    step: Whole = 0
    seconds: Annotated[float, Field(ge=0)] = 0.0
    best_val_loss: float | None = None
    best_step: Whole = 0
    loss_sum: float = 0.0
    loss_count: Whole = 0
    history: list[Annotated[list[float], Field(min_length=3, max_length=3)]] = []
    floor: float | None = None
    data_digest: str = ""


Origins = TypeAdapter(dict[str, str])


def understood_step(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise ValueError(f"its step is {text[:40]!r}")
    return int(text)


def understood_settings(values: Any) -> dict[str, Any]:
    known = {name for _, name, _ in fields()}
    if not isinstance(values, dict):
        raise TypeError(f"its settings are a {type(values).__name__}")
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"this version knows no setting {name[:80]!r}")
        if isinstance(value, int) and abs(value) >= 1 << 63:
            raise ValueError(f"its {name} is a number that is too long")
    return flat(assemble(values))


def understood_origins(values: Any) -> dict[str, str]:
    return Origins.validate_python(values, strict=True)


def understood_metrics(values: Any) -> dict[str, Any]:
    """What is missing gets the value that it has before the first step."""
    return Metrics.model_validate(values).model_dump()


def refuse_impossible(config: ModelConfig, weights: Mapping[str, Tensor]) -> None:
    """A model that the weights are not those of: before anything of the size that it claims is made."""
    counted, held = count_parameters(config).total, sum(map(Tensor.numel, weights.values()))
    if counted != held:
        raise CheckpointError(f"the checkpoint has {held:,} parameters, and its configuration makes {counted:,}")
    if config.architecture != "gpt":
        return
    if config.position == "rope" and config.max_seq_len * config.head_width > SMALL_TABLE + held:
        raise CheckpointError(
            f"the checkpoint's max_seq_len={config.max_seq_len:,} is out of proportion to its {held:,} parameters"
        )
    if config.n_layers > FEW_LAYERS:
        _refuse_missing_layers(config, weights)


def _refuse_missing_layers(config: ModelConfig, weights: Mapping[str, Tensor]) -> None:
    """All that one layer has, each has: thousands that are none would take minutes to build."""
    first = "blocks.0."
    names = [name for name, _ in build(config.but(n_layers=1)).named_parameters()]
    own = [name.removeprefix(first) for name in names if name.startswith(first)]
    for layer in range(config.n_layers):
        for name in own:
            if f"blocks.{layer}.{name}" not in weights:
                raise CheckpointError(f"the weights lack the tensor 'blocks.{layer}.{name}'")
