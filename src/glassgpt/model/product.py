"""A matrix made ready to meet one vector after another, in the fastest way that this processor knows.

Writing multiplies the same matrices by a few vectors for every token, so what counts is how many bytes are read and
how. `product` packs a matrix once and gives a function, fp32 in and fp32 out; `rounded` says which numbers lighter
weights stand for. `F.linear` on those is the truth that a test holds all of them to. Used by `decoder.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glassgpt.config import Weights
from glassgpt.model.base import Predictor

Model = TypeVar("Model", bound=Predictor)
Product = Callable[[Tensor], Tensor]  # x_BI to y_BO
FEW = 4  # rows up to which the kernels made for one vector win; with 16 rows oneDNN's bf16 does


def lighter(model: Model, weights: Weights) -> Model:
    """The same model with every matrix rounded to what so many bits can hold; itself, where that is fp32."""
    if weights == "fp32":
        return model
    light = copy.deepcopy(model)
    for matrix in matrices(light):
        matrix.data = rounded(matrix.data, weights)
    return light


def matrices(model: Predictor) -> list[Tensor]:
    """What a step multiplies by, each once: nearly all bytes. Norms, biases and positions stay as they are."""
    found: list[Tensor] = [part.weight for part in model.modules() if isinstance(part, nn.Linear)]
    table: nn.Embedding | None = getattr(model, "token_embedding", None)
    return found if table is None or not model.config.tie_weights else [*found, table.weight]


def rounded(weight_OI: Tensor, weights: Weights) -> Tensor:
    """The numbers that remain, in the dtype that came."""
    if weights == "int8":
        levels_OI, scale_O1 = quantized(weight_OI)
        return levels_OI.to(weight_OI.dtype) * scale_O1
    return weight_OI.bfloat16().to(weight_OI.dtype) if weights == "bf16" else weight_OI


def quantized(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers from -127 to 127, and for each row what one of them is worth. Rounding twice changes nothing."""
    scale_O1 = (weight_OI.abs().amax(dim=1, keepdim=True) / 127).clamp(min=1e-30).bfloat16().to(weight_OI.dtype)
    return (weight_OI / scale_O1).round().clamp(-127, 127).to(torch.int8), scale_O1


def product(weight_OI: Tensor, bias_O: Tensor | None = None, *, weights: Weights, rows: int) -> Product:
    """x_BI to x_BI @ weight_OI.T + bias_O, for about so many rows at once."""
    multiply = _multiplication(rounded(weight_OI.detach(), weights), weights, rows)
    if bias_O is None:
        return multiply
    bias_O = bias_O.detach()
    return lambda x_BI: multiply(x_BI).add_(bias_O)


def _multiplication(weight_OI: Tensor, weights: Weights, rows: int) -> Product:
    if weight_OI.device.type != "cpu" or weight_OI.dtype != torch.float32:
        return _plain(weight_OI, weight_OI.dtype if weights == "fp32" else torch.bfloat16)
    if weights == "int8" and rows <= FEW:
        return _whole_numbers(weight_OI)
    if weights == "bf16" and rows <= FEW and torch.backends.quantized.engine in {"x86", "fbgemm"}:
        return _half(weight_OI)
    if weights == "fp32" and rows == 1:
        return _one_vector(weight_OI)
    return _packed(weight_OI, weights) if _can_pack() else _plain(weight_OI, torch.float32)


def _plain(weight_OI: Tensor, dtype: torch.dtype) -> Product:
    weight_OI = weight_OI.to(dtype)
    return lambda x_BI: F.linear(x_BI.to(dtype), weight_OI).to(x_BI.dtype)


def _one_vector(weight_OI: Tensor) -> Product:
    """The BLAS of numpy reads a matrix that lies on its side at 18 GB/s, torch's at 13 (one core of an AMD EPYC)."""
    weight_IO = np.ascontiguousarray(weight_OI.numpy().T)
    return lambda x_BI: torch.from_numpy(np.dot(x_BI.numpy(), weight_IO))


def _half(weight_OI: Tensor) -> Product:
    """Kept as fp16, which holds every bf16 above 6e-5 exactly: that kernel reads 22 GB/s and takes fp32 vectors.

    The one for bf16 took twice as long here, and rounds the vectors too.
    """
    multiply_half = torch.ops.quantized.linear_dynamic_fp16
    packed = torch.ops.quantized.linear_prepack_fp16(weight_OI, None)
    return lambda x_BI: multiply_half(x_BI, packed)


def _whole_numbers(weight_OI: Tensor) -> Product:
    levels_OI, scale_O1 = quantized(weight_OI)
    scale_O, multiply_int8 = scale_O1[:, 0].bfloat16(), torch.ops.aten._weight_int8pack_mm
    return lambda x_BI: multiply_int8(x_BI.bfloat16(), levels_OI, scale_O).float()


def _can_pack() -> bool:
    ops = torch.ops.mkldnn
    return hasattr(ops, "_linear_pointwise") and bool(ops._is_mkldnn_bf16_supported())


def _packed(weight_OI: Tensor, weights: Weights) -> Product:
    """In oneDNN's own order of the numbers: with 16 rows it takes 0.6 of the time of F.linear."""
    dtype, multiply_packed = torch.float32 if weights == "fp32" else torch.bfloat16, torch.ops.mkldnn._linear_pointwise
    packed = torch.ops.mkldnn._reorder_linear_weight(weight_OI.to(dtype))
    return lambda x_BI: multiply_packed(x_BI.to(dtype), packed, None, "none", [], "").float()
