"""Which optimizer moves which parameter, and how its memory travels to disk and back.

Decay pulls matrices towards zero; biases, norms and per-channel gains are left alone. Muon, when
chosen, moves the hidden matrices by orthogonalised momentum; embeddings and the rest stay with AdamW.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from glassgpt.config import TrainingConfig
from glassgpt.device import cpu_has_bf16
from glassgpt.errors import CheckpointError
from glassgpt.model.attention import Attention
from glassgpt.training.muon import Muon

MUON_MOMENTUM = 0.95  # Keller Jordan's value, https://kellerjordan.github.io/posts/muon/


class Optimizers:
    """One or two torch optimizers that act as one."""

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        self._parts = _build(model, config)
        self._peaks = [[group["lr"] for group in part.param_groups] for part in self._parts]

    def set_learning_rate_share(self, share: float) -> None:
        for part, peaks in zip(self._parts, self._peaks, strict=True):
            for group, peak in zip(part.param_groups, peaks, strict=True):
                group["lr"] = peak * share

    def step(self, scaler: torch.amp.GradScaler | None = None) -> None:
        for part in self._parts:
            if scaler is None:
                part.step()
            else:
                scaler.step(part)

    def unscale(self, scaler: torch.amp.GradScaler) -> None:
        for part in self._parts:
            scaler.unscale_(part)

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
            on_host = key == "step" and not part.defaults.get("fused")  # only fused steps count on the device
            part.state[parameter][key] = value.clone() if on_host else value.clone().to(parameter.device)


def is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """The weights between activations inside the blocks: what Muon was made for."""
    return parameter.ndim == 2 and name.startswith("blocks.") and "shift" not in name


def _build(model: nn.Module, config: TrainingConfig) -> list[Optimizer]:
    hidden: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if config.optimizer == "muon" and is_hidden_matrix(name, parameter):
            hidden.append(parameter)
        else:
            (matrices if parameter.ndim >= 2 and "shift" not in name else others).append(parameter)
    parts: list[Optimizer] = [_adamw(matrices, others, config)]
    if hidden:
        parts.append(_muon(hidden, model, config))
    return parts


def _muon(hidden: list[nn.Parameter], model: nn.Module, config: TrainingConfig) -> Muon:
    fused = {part.qkv.weight: part.rows for part in model.modules() if isinstance(part, Attention)}
    groups = [{"params": [parameter], "rows": fused.get(parameter)} for parameter in hidden]
    dtype = torch.float32 if hidden[0].device.type == "cpu" and not cpu_has_bf16() else torch.bfloat16
    return Muon(
        groups, lr=config.muon_learning_rate, weight_decay=config.weight_decay, momentum=MUON_MOMENTUM, dtype=dtype
    )


def _adamw(matrices: list[nn.Parameter], others: list[nn.Parameter], config: TrainingConfig) -> AdamW:
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    fused = matrices[0].device.type in {"cpu", "cuda", "mps"}
    return AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), eps=1e-8, fused=fused)
