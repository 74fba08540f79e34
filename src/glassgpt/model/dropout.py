"""Dropout: while training, a share of the numbers is silenced, and the others speak up for them.

Which ones is drawn from torch's global generator, so a step that seeds it (`training/step.py`) can be repeated. On a
CPU torch draws each number by itself, a fifth of a training step; here one draw of 64 bits decides on four, so a
share is exact to one in 65,536. Used wherever GPT-2 has it; `lean.py` keeps what was drawn as minus signs.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Size, Tensor, nn

from glassgpt.model.derivatives import by_hand

BITS = {torch.float64: torch.int64, torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}


class Dropout(nn.Module):
    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return drop(x, self.share if self.training else 0.0)

    def extra_repr(self) -> str:
        return f"share={self.share}"


def drop(x: Tensor, share: float) -> Tensor:
    """A `share` of x becomes zero, the rest is divided by what remains: the mean stays what it was."""
    if not share:
        return x
    return x * factors(x.shape, share, x.dtype) if by_hand(x) else F.dropout(x, share)


def factors(shape: Size, share: float, dtype: torch.dtype) -> Tensor:
    """0 or 1 / (1 - share) for each number. The bits of the latter are cleared or not, which is one quick pass."""
    kept = torch.tensor(1 / (1 - share), dtype=dtype).view(BITS[dtype])
    return coins(shape, share).bitwise_not_().to(kept.dtype).bitwise_and_(kept).view(dtype)


def mark_(x: Tensor, share: float) -> Tensor:
    """In place: the same numbers of a positive x that `drop` would silence get a minus."""
    minus = torch.tensor(-0.0, dtype=x.dtype).view(BITS[x.dtype])
    x.view(minus.dtype).bitwise_or_(coins(x.shape, share).to(minus.dtype).bitwise_and_(minus))
    return x


def coins(shape: Size, share: float) -> Tensor:
    """int16: -1, all bits set, for what is dropped, and 0 for the rest."""
    count = math.prod(shape)
    noise = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    limit = min(max(round(2**16 * share) - 2**15, 1 - 2**15), 2**15 - 1)
    return noise[:count].clamp_(limit - 1, limit).sub_(limit).view(shape)  # quicker than a comparison
