"""Two formulas that keep little for the backward pass: attention its weights once, an MLP its wide layer once.

torch keeps what every single operation will ask for: attention's weights before dropout, what was dropped, and what was
left; an MLP's wide layer before and after its bend. Most of a training step's memory is that. Here one
tensor stands for all of them and the others are computed again, which takes less time than fetching them from memory.
The plain formulas that they are held to are `attention.attend` and `plain_bend_and_narrow`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from glassgpt.model.derivatives import by_hand
from glassgpt.model.dropout import mark_

Bend = Callable[..., Tensor]
LARGE = 2**20  # numbers in a wide layer; less fits the processor's cache, and is quicker kept than computed again


def attend_leanly(q_BHTK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor, visible_TS: Tensor, *, dropout: float) -> Tensor:
    """`attention.attend`, from the same draws."""
    y_BHTK: Tensor = _Attend.apply(dropout, visible_TS, q_BHTK, k_BHSK, v_BHSK)  # type: ignore[no-untyped-call]
    return y_BHTK


def bend_and_narrow(bend: Bend, weight_DF: Tensor, bias_D: Tensor | None, *wide_BTF: Tensor) -> Tensor:
    """An MLP's second half: the wide layer (swiglu has two) bent and brought back to the width of the stream."""
    if not by_hand(weight_DF) or wide_BTF[0].numel() < LARGE:
        return plain_bend_and_narrow(bend, weight_DF, bias_D, *wide_BTF)
    # Autocast does not look into a Function; this is what it would do.
    weight_DF, bias_D = weight_DF.to(wide_BTF[0].dtype), None if bias_D is None else bias_D.to(wide_BTF[0].dtype)
    return _BendAndNarrow.apply(bend, weight_DF, bias_D, *wide_BTF)  # type: ignore[no-untyped-call, no-any-return]


def plain_bend_and_narrow(bend: Bend, weight_DF: Tensor, bias_D: Tensor | None, *wide_BTF: Tensor) -> Tensor:
    return F.linear(bend(*wide_BTF), weight_DF, bias_D)


class _Attend(Function):
    """Y = W V with W = M * P, P = softmax(Q K' / sqrt(width)), M = 0 where dropped and elsewhere 1 / (1 - share).

    dV = W' dY; with G = W * (dY V') the scores' gradient is dZ = G - P * (sum of G over keys); dQ = dZ K / sqrt(width),
    dK = dZ' Q / sqrt(width). P and M are kept as one: what is dropped of P has a minus.
    """

    @staticmethod
    def forward(ctx: Any, share: float, visible_TS: Tensor, *heads: Tensor) -> Tensor:
        q_BHTK, k_BHSK, v_BHSK = heads
        ctx.share, ctx.scale, ctx.rows = share, 1 / math.sqrt(q_BHTK.shape[-1]), q_BHTK.shape[:2]
        q_NTK, k_NSK, v_NSK = q_BHTK.flatten(0, 1), k_BHSK.flatten(0, 1), v_BHSK.flatten(0, 1)  # N: all rows' heads
        mask_TS = torch.zeros_like(visible_TS, dtype=q_NTK.dtype).masked_fill_(~visible_TS, -math.inf)
        signed_NTS = mark_(torch.baddbmm(mask_TS, q_NTK, k_NSK.mT, alpha=ctx.scale).softmax(dim=-1), share)
        ctx.save_for_backward(q_NTK, k_NSK, v_NSK, signed_NTS)
        y_NTK = kept(signed_NTS, share) @ v_NSK
        return y_NTK.view(*q_BHTK.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_BHTK: Tensor) -> tuple[Tensor | None, ...]:
        q_NTK, k_NSK, v_NSK, signed_NTS = ctx.saved_tensors
        g_NTK, weights_NTS = g_BHTK.flatten(0, 1), kept(signed_NTS, ctx.share)
        dv_NSK = weights_NTS.mT @ g_NTK
        dz_NTS = weights_NTS.mul_(g_NTK @ v_NSK.mT)
        dz_NTS.addcmul_(signed_NTS.abs(), dz_NTS.sum(dim=-1, keepdim=True), value=-1)
        dq_NTK, dk_NSK = (dz_NTS @ k_NSK).mul_(ctx.scale), (dz_NTS.mT @ q_NTK).mul_(ctx.scale)
        return None, None, *(x.unflatten(0, ctx.rows) for x in (dq_NTK, dk_NSK, dv_NSK))


def kept(signed: Tensor, share: float) -> Tensor:
    return signed.relu().mul_(1 / (1 - share))


class _BendAndNarrow(Function):
    """Y = H W' + b with H = bend(wide): dW = dY' H, and dH = dY W goes on through the bend, computed again."""

    @staticmethod
    def forward(ctx: Any, bend: Bend, weight_DF: Tensor, bias_D: Tensor | None, *wide_BTF: Tensor) -> Tensor:
        ctx.bend, ctx.has_bias = bend, bias_D is not None
        ctx.save_for_backward(weight_DF, *wide_BTF)
        return plain_bend_and_narrow(bend, weight_DF, bias_D, *wide_BTF)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_BTD: Tensor) -> tuple[Tensor | None, ...]:
        weight_DF, *wide_BTF = ctx.saved_tensors
        with torch.enable_grad():
            wide_BTF = [x_BTF.detach().requires_grad_() for x_BTF in wide_BTF]
            hidden_BTF = ctx.bend(*wide_BTF)
        d_wide_BTF = torch.autograd.grad(hidden_BTF, wide_BTF, g_BTD @ weight_DF)
        g_ND = g_BTD.flatten(0, -2)
        d_bias_D = g_ND.sum(0) if ctx.has_bias else None
        return None, g_ND.mT @ hidden_BTF.detach().flatten(0, -2), d_bias_D, *d_wide_BTF
