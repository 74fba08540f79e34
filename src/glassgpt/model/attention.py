"""Attention: every token asks a question, and is answered by the tokens before it.

Forms that give the same numbers: `attend`, by hand, is the truth that a learner
reads; `attend_causally` calls it, or its twin in `lean.py`, block by block and skips what
cannot be seen; torch's fused kernel is held to both by a test. `is_faster_by_hand` is the one
place that chooses. Positions come from `rope.py`; `cache.py` remembers keys and values.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glassgpt.config import ModelConfig
from glassgpt.model.derivatives import by_hand, rms_norm
from glassgpt.model.dropout import Dropout, drop
from glassgpt.model.layers import Linear, RMSNorm
from glassgpt.model.lean import attend_leanly
from glassgpt.model.rope import Rotation, rotate

BLOCK = 128  # queries at once, see `attend_causally`; of 64, 128 and 256 the best on CPU at T 256 and 512


def attend(q_BHTK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor, visible_TS: Tensor, *, dropout: float = 0.0) -> Tensor:
    """How much each query matches each key it may see decides how much of each value it takes."""
    q_BHTK = q_BHTK / math.sqrt(q_BHTK.shape[-1])  # or wide heads would shout; on q, which is smaller than the scores
    scores_BHTS = q_BHTK @ k_BHSK.mT
    # Added in place, the mask costs nothing in the backward pass; masked_fill would cost a third more time.
    scores_BHTS += torch.zeros_like(visible_TS, dtype=q_BHTK.dtype).masked_fill_(~visible_TS, -math.inf)
    weights_BHTS = drop(scores_BHTS.softmax(dim=-1), dropout)
    return weights_BHTS @ v_BHSK


def attend_causally(q_BHTK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor, *, dropout: float = 0.0) -> Tensor:
    """`attend`, each query seeing itself and what came before, in blocks of queries.

    A block never looks beyond its own end, so nearly half of the scores need not
    exist, and those that do fit the processor's cache better.
    """
    T = q_BHTK.shape[2]
    look = attend_leanly if dropout and by_hand(q_BHTK) else attend
    q_BHTK, k_BHSK, v_BHSK = (x.contiguous() for x in (q_BHTK, k_BHSK, v_BHSK))  # once; of pieces nothing is copied
    visible_TS = torch.ones(T, T, dtype=torch.bool, device=q_BHTK.device).tril()
    blocks_BHTK = []
    for start in range(0, T, BLOCK):
        end = min(start + BLOCK, T)
        k_block, v_block = k_BHSK[:, :, :end], v_BHSK[:, :, :end]
        visible_block = visible_TS[start:end, :end]
        blocks_BHTK.append(look(q_BHTK[:, :, start:end], k_block, v_block, visible_block, dropout=dropout))
    return torch.cat(blocks_BHTK, dim=2)


def is_faster_by_hand(q_BHTK: Tensor, *, dropout: float = 0.0) -> bool:
    """On CPU in half precision or with dropout plain products beat torch's fused kernel; everywhere else it is taken.

    Measured with torch 2.13 on two cores with AVX-512 bf16, forward and backward, B 16, H 4, K 32, in ms, by hand
    against fused: bf16, T 256: 8 against 21, T 512: 30 against 65 (a whole training step becomes a quarter shorter);
    with K 64 and 128 the same. In fp32 whole steps take equally long, and the fused kernel needs less memory; but that
    one knows no dropout, and what torch does instead made a step longer.
    """
    return q_BHTK.device.type == "cpu" and (dropout > 0 or q_BHTK.dtype in {torch.bfloat16, torch.float16})


class Memory(Protocol):
    """Who remembers the keys and values of earlier calls (`cache.py` has one)."""

    def extend(self, k_BHTK: Tensor, v_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values so far, these included: k_BHSK, v_BHSK."""


class Attention(nn.Module):
    """The heads of one block: project, place, look, gather."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.form = config.attention
        self.head_width = config.head_width
        self.split = (config.n_heads, config.kv_heads, config.kv_heads)
        # How many rows of the one matrix make queries, keys and values.
        self.rows = tuple(heads * config.head_width for heads in self.split)
        self.qkv = Linear(config.d_model, sum(self.rows), bias=config.bias)
        self.q_norm = RMSNorm(config.head_width) if config.qk_norm else None
        self.k_norm = RMSNorm(config.head_width) if config.qk_norm else None
        self.out = Linear(config.d_model, config.d_model, bias=config.bias)
        self.weight_dropout = config.dropout
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        x_BTD: Tensor,
        rotation: Rotation | None = None,
        visible_B1TS: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Without `visible_B1TS`, x_BTD is the whole text and each token sees what came before it."""
        q_BHTK, k_BHSK, v_BHSK = self.project(x_BTD, rotation)
        if memory is not None:
            k_BHSK, v_BHSK = memory.extend(k_BHSK, v_BHSK)
        answers_BHTK = self.look(q_BHTK, self.share(k_BHSK), self.share(v_BHSK), visible_B1TS)
        y_BTD: Tensor = self.dropout(self.out(answers_BHTK.transpose(1, 2).flatten(2)))
        return y_BTD

    def project(self, x_BTD: Tensor, rotation: Rotation | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the new tokens; queries and keys are normed and turned together."""
        heads, kv_heads, _ = self.split
        qkv_BTHK = self.qkv(x_BTD).unflatten(-1, (-1, self.head_width))
        qk_BTHK, v_BTHK = qkv_BTHK.split((heads + kv_heads, kv_heads), dim=2)
        if self.q_norm is not None and self.k_norm is not None:
            weight_HK = torch.cat((self.q_norm.weight.expand(heads, -1), self.k_norm.weight.expand(kv_heads, -1)))
            qk_BTHK = rms_norm(qk_BTHK, weight_HK.to(qk_BTHK.dtype))
        qk_BHTK = qk_BTHK.transpose(1, 2)
        if rotation is not None:
            qk_BHTK = rotate(qk_BHTK, rotation)
        q_BHTK, k_BHTK = qk_BHTK.split((heads, kv_heads), dim=1)
        return q_BHTK, k_BHTK, v_BTHK.transpose(1, 2)

    def share(self, k_BHSK: Tensor) -> Tensor:
        """Grouped-query attention: each key head serves several query heads."""
        heads, kv_heads, _ = self.split
        return k_BHSK if heads == kv_heads else k_BHSK.repeat_interleave(heads // kv_heads, dim=1)

    def look(self, q_BHTK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor, visible_B1TS: Tensor | None) -> Tensor:
        dropout = self.weight_dropout if self.training else 0.0
        if self.form == "sdpa" or (self.form == "auto" and not is_faster_by_hand(q_BHTK, dropout=dropout)):
            causal = visible_B1TS is None
            return F.scaled_dot_product_attention(
                q_BHTK, k_BHSK, v_BHSK, attn_mask=visible_B1TS, dropout_p=dropout, is_causal=causal
            )
        if visible_B1TS is None:
            return attend_causally(q_BHTK, k_BHSK, v_BHSK, dropout=dropout)
        return attend(q_BHTK, k_BHSK, v_BHSK, visible_B1TS, dropout=dropout)
