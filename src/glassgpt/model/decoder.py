"""One token further in every text, with nothing in the way: the GPT's step as a short list of calls.

A step does little arithmetic on many bytes, so what is left to win is what surrounds it: matrices are packed once
(`product.py`), rotary tables looked up, modules not asked, and the answers of one row computed without any mask. It
writes into the model's own cache, where `GPT.read` has put the prompt. That is also the truth it is held to.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glassgpt.config import Weights
from glassgpt.model.attention import Attention
from glassgpt.model.cache import Cache, KeyValueTape, LayerCache, ShiftTape
from glassgpt.model.derivatives import EPS
from glassgpt.model.gpt import GPT, Block
from glassgpt.model.layers import MLP, LayerNorm, RMSNorm, SwiGLU, TokenShift, swiglu
from glassgpt.model.product import Product, product

Norm = Callable[[Tensor], Tensor]
Pack = Callable[[Tensor, Tensor | None], Product]


class Decoder:
    """What `model.read` and `model.predict` compute for one new token of each row; the weights are those of now."""

    def __init__(self, model: GPT, *, rows: int, weights: Weights = "fp32") -> None:
        def pack(weight_OI: Tensor, bias_O: Tensor | None = None) -> Product:
            return product(weight_OI, bias_O, weights=weights, rows=rows)

        self.rope = model.rope
        self.token_VD = model.token_embedding.weight.detach()
        self.position_SD = None if model.position_embedding is None else model.position_embedding.weight.detach()
        self.shift = model.embedding_shift
        self.blocks = [BlockStep(block, pack) for block in model.blocks if isinstance(block, Block)]
        self.norm = norm_step(model.final_norm)
        self.predict = pack(self.token_VD if model.head is None else model.head.weight)

    def step(self, ids_B: Tensor, cache: Cache) -> Tensor:
        """logits_BV; the cache goes on by one."""
        cache.pen.advance(1)
        return self.compute(ids_B, cache)

    def compute(self, ids_B: Tensor, cache: Cache) -> Tensor:
        positions_B = cache.pen.positions_BT[:, 0]
        x_BD = F.embedding(ids_B, self.token_VD)
        if self.position_SD is not None:
            x_BD = x_BD + self.position_SD[positions_B]
        x_BD = shifted(x_BD, self.shift, cache.embedding_shift)
        turn_B1K = (
            None if self.rope is None else (self.rope.cos_SK[positions_B, None], self.rope.sin_SK[positions_B, None])
        )
        visible_B1TS = None if cache.pen.even else cache.visible()
        for block, memory in zip(self.blocks, cache.layers, strict=True):
            x_BD = block.step(x_BD, turn_B1K, visible_B1TS, memory)
        return self.predict(self.norm(x_BD))


class BlockStep:
    def __init__(self, block: Block, pack: Pack) -> None:
        self.attention_norm, self.mlp_norm = norm_step(block.attention_norm), norm_step(block.mlp_norm)
        self.attention_shift, self.mlp_shift = block.attention_shift, block.mlp_shift
        self.look, self.think = AttentionStep(block.attention, pack), mlp_step(block.mlp, pack)

    def step(
        self, x_BD: Tensor, turn_B1K: tuple[Tensor, Tensor] | None, visible_B1TS: Tensor | None, memory: LayerCache
    ) -> Tensor:
        seen_BD = shifted(self.attention_norm(x_BD), self.attention_shift, memory.attention_shift)
        x_BD = x_BD + self.look.step(seen_BD, turn_B1K, visible_B1TS, memory.attention)
        return x_BD + self.think(shifted(self.mlp_norm(x_BD), self.mlp_shift, memory.mlp_shift))


class AttentionStep:
    """One query for each head; heads that share keys are asked like neighbours in time, so nothing is repeated."""

    def __init__(self, attention: Attention, pack: Pack) -> None:
        self.qkv, self.out = (
            pack(attention.qkv.weight, attention.qkv.bias),
            pack(attention.out.weight, attention.out.bias),
        )
        self.heads, self.kv_heads, _ = attention.split
        self.head_width = attention.head_width
        self.stretch_HK: Tensor | None = None
        if attention.q_norm is not None and attention.k_norm is not None:
            q_K, k_K = attention.q_norm.weight.detach(), attention.k_norm.weight.detach()
            self.stretch_HK = torch.cat((q_K.expand(self.heads, -1), k_K.expand(self.kv_heads, -1)))

    def step(
        self, x_BD: Tensor, turn_B1K: tuple[Tensor, Tensor] | None, visible_B1TS: Tensor | None, tape: KeyValueTape
    ) -> Tensor:
        B, heads, kv_heads, K = len(x_BD), self.heads, self.kv_heads, self.head_width
        both = heads + kv_heads
        qkv_BHK = self.qkv(x_BD).view(B, both + kv_heads, K)
        qk_BHK = qkv_BHK[:, :both]
        if self.stretch_HK is not None:
            qk_BHK = rms_normed(qk_BHK) * self.stretch_HK
        if turn_B1K is not None:
            partner_BHK = qk_BHK.roll(K // 2, dims=-1)
            qk_BHK = torch.addcmul(qk_BHK * turn_B1K[0], partner_BHK, turn_B1K[1])
        k_BHSK, v_BHSK = tape.extend(qk_BHK[:, heads:].unsqueeze(2), qkv_BHK[:, both:].unsqueeze(2))
        q_BHTK = qk_BHK[:, :heads].view(B, kv_heads, heads // kv_heads, K)
        look = fused_answers if tape.pen.follows else answers
        return self.out(look(q_BHTK, k_BHSK, v_BHSK, visible_B1TS).reshape(B, heads * K))


@np.errstate(all="ignore")  # a processor's flags are no figures: what a product reads past its edge can raise them
def answers(q_BHTK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor, visible_B1TS: Tensor | None) -> Tensor:
    """`attention.attend` for one position; numpy reads keys and values faster than torch's kernels (by 1/4)."""
    if q_BHTK.device.type != "cpu" or q_BHTK.dtype != torch.float32:
        return fused_answers(q_BHTK, k_BHSK, v_BHSK, visible_B1TS)
    q_BHTK = q_BHTK / math.sqrt(q_BHTK.shape[-1])
    scores_BHTS = torch.from_numpy(np.matmul(q_BHTK.numpy(), k_BHSK.numpy().swapaxes(2, 3)))
    if visible_B1TS is not None:
        scores_BHTS.masked_fill_(~visible_B1TS, -math.inf)
    return torch.from_numpy(np.matmul(scores_BHTS.softmax(dim=-1).numpy(), v_BHSK.numpy()))


def fused_answers(q_BHTK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor, visible_B1TS: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(q_BHTK, k_BHSK, v_BHSK, attn_mask=visible_B1TS)


def mlp_step(mlp: nn.Module, pack: Pack) -> Callable[[Tensor], Tensor]:
    assert isinstance(mlp, MLP | SwiGLU)
    down = pack(mlp.down.weight, mlp.down.bias)
    if isinstance(mlp, MLP):
        up, bend = pack(mlp.up.weight, mlp.up.bias), mlp.bend
        return lambda x_BD: down(bend(up(x_BD)))
    bias = None if mlp.gate.bias is None else torch.cat((mlp.gate.bias, mlp.up.bias))
    gate_and_up = pack(torch.cat((mlp.gate.weight, mlp.up.weight)), bias)

    def gated(x_BD: Tensor) -> Tensor:
        gate_BF, up_BF = gate_and_up(x_BD).chunk(2, dim=1)
        return down(swiglu(gate_BF, up_BF))

    return gated


def norm_step(norm: nn.Module) -> Norm:
    assert isinstance(norm, LayerNorm | RMSNorm)
    shape, weight_D = norm.weight.shape, norm.weight.detach()
    if isinstance(norm, RMSNorm):
        return lambda x_BD: rms_normed(x_BD) * weight_D
    bias_D = None if norm.bias is None else norm.bias.detach()
    return lambda x_BD: F.layer_norm(x_BD, shape, weight_D, bias_D, eps=1e-5)


def rms_normed(x: Tensor) -> Tensor:
    """`F.rms_norm` in half the time: torch takes that one apart into slower pieces."""
    return x * torch.rsqrt_(x.square().mean(dim=-1, keepdim=True).add_(EPS))


def shifted(x_BD: Tensor, shift: TokenShift | None, tape: ShiftTape | None) -> Tensor:
    if shift is None or tape is None:
        return x_BD
    past_BSD = tape.recall(x_BD.unsqueeze(1), steps=tape.steps)
    for back, weight_D in enumerate(shift.weight, start=1):
        x_BD = torch.addcmul(x_BD, past_BSD[:, -back], weight_D)
    return x_BD
