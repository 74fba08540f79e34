"""Derivatives written out by hand, where the processor would otherwise wait for torch's.

Each function here is one formula and its derivative. torch finds derivatives by itself; but on a CPU it takes
squared ReLU's through a general power, GELU's through the hyperbolic tangent, which is slow in every precision, and
RMSNorm's in a dozen passes over memory. By hand they cost less, some of them half, and give the same numbers: the plain
formulas beside them are the truth in a test, and run wherever a compiler or another device does better. Used by
`layers.py`; `lean.py` does the same for memory.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

EPS = 1e-6  # of RMSNorm, as in Llama
GELU_A = 2 * math.sqrt(2 / math.pi)  # gelu(x) is about x (1 + tanh(A / 2 (x + 0.044715 x^3))) / 2
GELU_B = 0.044715 * GELU_A


def by_hand(x: Tensor) -> bool:
    """Elsewhere torch has kernels of its own, and a compiler fuses the plain formulas better than these."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """Every vector scaled to root-mean-square 1, then stretched by `weight`, one row for all or one for each head."""
    if by_hand(x):
        return _RMSNorm.apply(x, weight)  # type: ignore[no-untyped-call, no-any-return]
    return plain_rms_norm(x, weight)


def plain_rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    if weight.ndim == 1:
        return F.rms_norm(x, weight.shape, weight, eps=EPS)
    return F.rms_norm(x, weight.shape[-1:], eps=EPS) * weight


def gelu(x: Tensor) -> Tensor:
    """Each x times the bell curve's share below x, by the approximation that GPT-2 was trained with, and so are we."""
    return _Gelu.apply(x) if by_hand(x) else plain_gelu(x)  # type: ignore[no-untyped-call]


def plain_gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def relu2(x: Tensor) -> Tensor:
    """Squared ReLU (So et al. 2021)."""
    return _Relu2.apply(x) if by_hand(x) else plain_relu2(x)  # type: ignore[no-untyped-call]


def plain_relu2(x: Tensor) -> Tensor:
    return F.relu(x).square()


def shift(x_BTD: Tensor, weight_ND: Tensor) -> Tensor:
    """y[t] = x[t] + weight[0] x[t-1] + weight[1] x[t-2] + ..., channel by channel; before the text begins are zeros."""
    if by_hand(x_BTD):
        return _Shift.apply(x_BTD, weight_ND)  # type: ignore[no-untyped-call, no-any-return]
    return plain_shift(x_BTD, weight_ND)


def plain_shift(x_BTD: Tensor, weight_ND: Tensor) -> Tensor:
    steps, T = len(weight_ND), x_BTD.shape[1]
    padded_BSD = F.pad(x_BTD, (0, 0, steps, 0))
    y_BTD = x_BTD
    for back, weight_D in enumerate(weight_ND, start=1):
        y_BTD = torch.addcmul(y_BTD, padded_BSD[:, steps - back : steps - back + T], weight_D)
    return y_BTD


class _RMSNorm(Function):
    """y = n w with n = x / rms(x); dx = (g w - n mean(g w n)) / rms(x): no part of it changes the length alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        scale = length.square_().div_(x.shape[-1]).add_(EPS).rsqrt_().to(x.dtype)
        n: Tensor = x * scale
        ctx.save_for_backward(n, scale, weight)
        return n * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        n, scale, weight = ctx.saved_tensors
        gn = g * n
        d_weight = gn.flatten(0, -1 - weight.ndim).sum(0)
        along = (gn @ weight if weight.ndim == 1 else (gn * weight).sum(-1)).unsqueeze(-1)
        return (g * weight).addcmul_(n, along.div_(-n.shape[-1])).mul_(scale), d_weight


class _Gelu(Function):
    """y = x s with s = sigmoid(x (a + b x x)), as (1 + tanh(u)) / 2 is; dx = g (s + x (a + 3b x x) s (1 - s))."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        s = torch.addcmul(x.new_tensor(GELU_A), x, x, value=GELU_B).mul_(x).sigmoid_()
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        x, s = ctx.saved_tensors
        slope = torch.addcmul(x.new_tensor(GELU_A), x, x, value=3 * GELU_B).mul_(x)
        d_sigmoid: Tensor = torch.ops.aten.sigmoid_backward(slope, s)
        return d_sigmoid.add_(s).mul_(g)


class _Relu2(Function):
    """y = r r with r = max(x, 0); dx = 2 r g."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        r = x.relu()
        ctx.save_for_backward(r)
        return r * r

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (r,) = ctx.saved_tensors
        return torch.addcmul(g.new_zeros(()), g, r, value=2)  # in one pass


class _Shift(Function):
    """dx[t] = g[t] + weight[0] g[t+1] + ...; d weight[i] = sum of g[t] x[t-1-i]."""

    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, weight_ND: Tensor) -> Tensor:
        ctx.save_for_backward(x_BTD, weight_ND)
        y_BTD = x_BTD.clone()
        for back, weight_D in enumerate(weight_ND, start=1):
            y_BTD[:, back:].addcmul_(x_BTD[:, :-back], weight_D)
        return y_BTD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_BTD: Tensor) -> tuple[Tensor, Tensor]:
        x_BTD, weight_ND = ctx.saved_tensors
        dx_BTD, d_weight = g_BTD.clone(), []
        for back, weight_D in enumerate(weight_ND, start=1):
            dx_BTD[:, :-back].addcmul_(g_BTD[:, back:], weight_D)
            d_weight.append((g_BTD[:, back:] * x_BTD[:, :-back]).sum((0, 1)))
        return dx_BTD, torch.stack(d_weight)
