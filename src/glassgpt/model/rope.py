"""Rotary positions: a token's place is an angle, and attention sees only differences of angles.

Channel i of a head pairs with channel i + K/2 ("half-split", as in GPT-NeoX and
Llama). Each pair is a clock hand that turns at its own speed, the first by one
radian per token, the last about `base` times slower. Turning query and key each by
its own position makes their product depend on the distance between them alone
(Su et al. 2021). Next: `attention.py`, which turns them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

Rotation = tuple[Tensor, Tensor]  # cos_B1TK, sin_B1TK


def rotate(x_BHTK: Tensor, rotation: Rotation) -> Tensor:
    """Turn every pair (a, b) to (a cos - b sin, b cos + a sin)."""
    cos_B1TK, sin_B1TK = rotation
    partner_BHTK = x_BHTK.roll(x_BHTK.shape[-1] // 2, dims=-1)  # (b, a); the minus is in the table
    return x_BHTK * cos_B1TK + partner_BHTK * sin_B1TK


class Rope(nn.Module):
    """The angles of all positions, computed once; they are no weights, so no checkpoint carries them."""

    def __init__(self, head_width: int, max_seq_len: int, *, base: float) -> None:
        super().__init__()
        # fp32: in bf16 position 257 would round to 256
        speeds = base ** (-torch.arange(0, head_width, 2, dtype=torch.float32) / head_width)
        angles = torch.outer(torch.arange(max_seq_len, dtype=torch.float32), speeds)
        self.cos_SK = nn.Buffer(torch.cat((angles.cos(), angles.cos()), dim=1), persistent=False)
        self.sin_SK = nn.Buffer(torch.cat((-angles.sin(), angles.sin()), dim=1), persistent=False)

    def forward(self, positions_BT: Tensor, *, dtype: torch.dtype) -> Rotation:
        """The rotation at each position, with an axis of one for the heads, in the dtype of queries and keys."""
        cos_BTK, sin_BTK = self.cos_SK[positions_BT].to(dtype), self.sin_SK[positions_BT].to(dtype)
        return cos_BTK.unsqueeze(1), sin_BTK.unsqueeze(1)
