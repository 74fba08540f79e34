"""Which optimizer moves which parameter, and how its memory travels to disk and back.

Decay pulls matrices towards zero; biases, norms and per-channel gains are left alone. Muon, when chosen, moves the
hidden matrices by orthogonalised momentum (and it is those alone that decay); embeddings and the rest stay with AdamW,
each at its own pace.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from glassgpt.config import TrainingConfig
from glassgpt.device import cpu_has_bf16
from glassgpt.errors import CheckpointError
from glassgpt.model.attention import Attention
from glassgpt.training.adamw import AdamW
from glassgpt.training.mover import Group, Mover
from glassgpt.training.muon import Muon

# Shares of the learning rate that the small parts get beside Muon, chosen by runs of a few hundred steps on the last
# tenth of a training text. A row of an untied embedding learns only when its token comes by, and a shift has so few
# numbers that it should find its place early.
EMBEDDING_PACE, SHIFT_PACE = 5.0, 5.0


class Optimizers:
    """One or two optimizers that act as one."""

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        self._parts = _build(model, config)
        self._peaks = [[group["lr"] for group in part.param_groups] for part in self._parts]

    def set_learning_rate_share(self, share: float) -> None:
        for part, peaks in zip(self._parts, self._peaks, strict=True):
            for group, peak in zip(part.param_groups, peaks, strict=True):
                group["lr"] = peak * share

    def step(self, skip: Tensor | None = None) -> None:
        """Move all; or, where `skip` (a number on the device) is 1, nothing, which the host need not know."""
        for part in self._parts:
            part.found_inf = skip
            part.step()

    def unscale(self, scaler: torch.amp.GradScaler) -> None:
        for part in self._parts:
            scaler.unscale_(part)  # type: ignore[arg-type]  # it only asks for the groups

    def state(self) -> dict[str, Tensor]:
        """`{"blocks.0.mlp.up.weight/exp_avg": ...}`: every remembered tensor under its parameter's name."""
        return {
            f"{self._names[parameter]}/{key}": value
            for part in self._parts
            for parameter, memory in part.state.items()
            for key, value in memory.items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        homes = {
            self._names[p]: (part, p) for part in self._parts for group in part.param_groups for p in group["params"]
        }
        for name, value in state.items():
            parameter_name, _, key = name.rpartition("/")
            if parameter_name not in homes:
                raise CheckpointError(f"the optimizer's memory {name!r} belongs to no parameter of this model")
            part, parameter = homes[parameter_name]
            part.state[parameter][key] = value.clone().to(parameter.device)


def is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """The weights between activations inside the blocks: what Muon was made for."""
    return parameter.ndim == 2 and name.startswith("blocks.") and "shift" not in name


def _build(model: nn.Module, config: TrainingConfig) -> list[Mover]:
    named = dict(model.named_parameters())
    hidden = [p for name, p in named.items() if is_hidden_matrix(name, p)] if config.optimizer == "muon" else []
    if not hidden:
        return [_adamw(_by_decay(named, config), config)]
    beside = {name: p for name, p in named.items() if not is_hidden_matrix(name, p)}
    return [_adamw(_by_pace(beside, config), config), _muon(hidden, model, config)]


def _by_decay(named: Mapping[str, nn.Parameter], config: TrainingConfig) -> list[Group]:
    matrices = [p for name, p in named.items() if p.ndim >= 2 and "shift" not in name]
    others = [p for name, p in named.items() if p.ndim < 2 or "shift" in name]
    return [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others}]


def _by_pace(named: Mapping[str, nn.Parameter], config: TrainingConfig) -> list[Group]:
    untied = "head.weight" in named
    paces: dict[float, list[nn.Parameter]] = {}
    for name, parameter in named.items():
        pace = EMBEDDING_PACE if untied and "_embedding." in name else SHIFT_PACE if "shift" in name else 1.0
        paces.setdefault(pace, []).append(parameter)
    return [{"params": group, "lr": pace * config.learning_rate} for pace, group in paces.items()]


def _adamw(groups: list[Group], config: TrainingConfig) -> AdamW:
    return AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2))


def _muon(hidden: list[nn.Parameter], model: nn.Module, config: TrainingConfig) -> Muon:
    fused = {part.qkv.weight: part.rows for part in model.modules() if isinstance(part, Attention)}
    alike: dict[tuple[int, ...] | None, list[nn.Parameter]] = {}
    for parameter in hidden:
        alike.setdefault(fused.get(parameter), []).append(parameter)
    groups = [{"params": group, "rows": rows} for rows, group in alike.items()]
    dtype = torch.float32 if hidden[0].device.type == "cpu" and not cpu_has_bf16() else torch.bfloat16
    return Muon(
        groups,
        lr=config.muon_learning_rate,
        weight_decay=config.weight_decay,
        momentum=config.muon_momentum,
        dtype=dtype,
    )
