"""The small parts that a block is built of: linear maps, norms, the MLP, token shift.

Nothing here knows about attention or about the model around it. Next: `rope.py`,
how positions enter; `attention.py`, how tokens look at each other.

The legend of every tensor name in this project: B batch, T query position,
S key position, H heads, K head width, D model width, F MLP width, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glassgpt.config import ModelConfig
from glassgpt.model.derivatives import gelu, plain_shift, relu2, rms_norm, shift
from glassgpt.model.dropout import Dropout
from glassgpt.model.lean import Bend, bend_and_narrow


class Linear(nn.Linear):
    """A linear map born blank: torch would fill it from the global dice, and `init.py` fills it from ours.

    (`torch.nn.utils.skip_init` loads half of torch's compiler, which costs a start more than all our own files.)
    """

    def reset_parameters(self) -> None:
        """Nothing: see above."""


def embedding(entries: int, width: int) -> nn.Embedding:
    """A table with one row of numbers per entry, born blank like `Linear`."""
    return nn.Embedding(entries, width, _weight=torch.empty(entries, width))


class LayerNorm(nn.Module):
    """Every token's vector moved to mean 0 and spread 1, then stretched (and moved) per channel."""

    def __init__(self, width: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x_BTD: Tensor) -> Tensor:
        return F.layer_norm(x_BTD, self.weight.shape, self.weight, self.bias, eps=1e-5)


class RMSNorm(nn.Module):
    """The same without the mean: every vector scaled to root-mean-square 1, then stretched per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        # The weight follows the input: torch refuses its fused kernel, with a warning, where the two differ in dtype.
        return rms_norm(x_BTD, self.weight.to(x_BTD.dtype))


def norm(config: ModelConfig) -> LayerNorm | RMSNorm:
    return RMSNorm(config.d_model) if config.norm == "rmsnorm" else LayerNorm(config.d_model, bias=config.bias)


BENDS: dict[str, Bend] = {"gelu": gelu, "gelu_exact": F.gelu, "relu2": relu2}


class MLP(nn.Module):
    """What each token does on its own: widen, bend, narrow."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.bend = BENDS[config.mlp]
        self.up = Linear(config.d_model, config.mlp_width, bias=config.bias)
        self.down = Linear(config.mlp_width, config.d_model, bias=config.bias)
        self.dropout = Dropout(config.dropout)

    def forward(self, x_BTD: Tensor) -> Tensor:
        y_BTD: Tensor = self.dropout(bend_and_narrow(self.bend, self.down.weight, self.down.bias, self.up(x_BTD)))
        return y_BTD


class SwiGLU(nn.Module):
    """The MLP with a gate: one half says what, the other how much of it (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = Linear(config.d_model, config.mlp_width, bias=config.bias)
        self.up = Linear(config.d_model, config.mlp_width, bias=config.bias)
        self.down = Linear(config.mlp_width, config.d_model, bias=config.bias)
        self.dropout = Dropout(config.dropout)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate_BTF, up_BTF = self.gate(x_BTD), self.up(x_BTD)
        y_BTD: Tensor = self.dropout(bend_and_narrow(swiglu, self.down.weight, self.down.bias, gate_BTF, up_BTF))
        return y_BTD


def swiglu(gate_BTF: Tensor, up_BTF: Tensor) -> Tensor:
    return F.silu(gate_BTF) * up_BTF


def mlp(config: ModelConfig) -> MLP | SwiGLU:
    return SwiGLU(config) if config.mlp == "swiglu" else MLP(config)


class Past(Protocol):
    """Who remembers what went through a token shift before (`cache.py` has one)."""

    def recall(self, x_BTD: Tensor, *, steps: int) -> Tensor:
        """The inputs of the last `steps` positions before x_BTD, oldest first; x_BTD is remembered."""


class TokenShift(nn.Module):
    """Each channel adds a learned share of its own previous values.

    y[t] = x[t] + weight[0] * x[t-1] + weight[1] * x[t-2] + ...: the cheapest way
    to know one's neighbours. Before the text begins there are zeros.
    """

    def __init__(self, width: int, *, steps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(steps, width))

    def forward(self, x_BTD: Tensor, past: Past | None = None) -> Tensor:
        weight_ND = self.weight.to(x_BTD.dtype)
        if past is None:
            return shift(x_BTD, weight_ND)
        steps = len(weight_ND)
        all_BSD = torch.cat((past.recall(x_BTD, steps=steps), x_BTD), dim=1)
        return plain_shift(all_BSD, weight_ND)[:, steps:]


def cross_entropy(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """Mean surprise in nats; in fp32, for bf16 keeps two or three digits only. A target of -100 does not count."""
    return F.cross_entropy(logits_BTV.float().flatten(0, 1), targets_BT.flatten(), ignore_index=-100)


def choose(logits_BV: Tensor, *, temperature: float, top_k: int | None, rng: torch.Generator | None) -> Tensor:
    """One token for each row, drawn on the CPU so that a seed means the same on every device."""
    if temperature == 0:
        return logits_BV.argmax(dim=-1, keepdim=True)
    scores_BV = logits_BV.float().cpu() / temperature
    if top_k:
        kth_B1 = scores_BV.topk(min(top_k, scores_BV.shape[-1])).values[:, -1:]
        scores_BV = scores_BV.masked_fill(scores_BV < kth_B1, -math.inf)
    return torch.multinomial(scores_BV.softmax(dim=-1), 1, generator=rng).to(logits_BV.device)
