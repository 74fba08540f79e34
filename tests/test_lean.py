"""What keeps little for the backward pass computes what the plain formulas do, and does keep little."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glassgpt.config import ModelConfig
from glassgpt.model import lean
from glassgpt.model.attention import attend
from glassgpt.model.derivatives import gelu, relu2
from glassgpt.model.layers import MLP, SwiGLU, mlp, swiglu
from glassgpt.model.lean import Bend, attend_leanly, bend_and_narrow, plain_bend_and_narrow

B, T, S, H, K, D, W = 2, 5, 7, 3, 4, 6, 11  # all different: a swapped axis cannot pass; W is the wide layer's
SHARE = 0.3
BENDS: dict[str, tuple[Bend, int]] = {
    "gelu": (gelu, 1), "gelu_exact": (F.gelu, 1), "relu2": (relu2, 1), "swiglu": (swiglu, 2),
}  # fmt: skip
every_bend = pytest.mark.parametrize("name", BENDS)


@pytest.fixture(autouse=True)
def every_size_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "LARGE", 0)


def random(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    rng = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=rng, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def answer_and_gradients(formula: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    torch.manual_seed(3)
    y = formula(*inputs)
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, inputs, g)]


# --- attention ------------------------------------------------------------------------------------------------------


def heads(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return random((B, H, T, K), (B, H, S, K), (B, H, S, K), dtype=dtype)


def visible() -> Tensor:
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)


def leanly(q_BHTK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor) -> Tensor:
    return attend_leanly(q_BHTK, k_BHSK, v_BHSK, visible(), dropout=SHARE)


def plainly(q_BHTK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor) -> Tensor:
    return attend(q_BHTK, k_BHSK, v_BHSK, visible(), dropout=SHARE)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_lean_attention_is_attention_with_the_same_coins(dtype: torch.dtype, tolerance: float) -> None:
    lean_ones, plain_ones = (answer_and_gradients(form, heads(dtype)) for form in (leanly, plainly))
    for ours, theirs in zip(lean_ones, plain_ones, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_lean_attention_errs_no_more_than_the_plain_one_in_half_precision() -> None:
    """The coins of both are those of fp64, for the same bits are drawn."""
    exact = answer_and_gradients(plainly, heads())
    rough = [answer_and_gradients(form, heads(torch.bfloat16)) for form in (leanly, plainly)]
    for ours, theirs, truth in zip(*rough, exact, strict=True):
        assert (ours - truth).norm() <= 1.5 * (theirs - truth).norm() + 0.005 * truth.norm()


def test_the_derivative_of_lean_attention_is_its_slope() -> None:
    def repeated(*heads: Tensor) -> Tensor:
        torch.manual_seed(3)
        return leanly(*heads)

    assert torch.autograd.gradcheck(repeated, heads())


# --- the MLP --------------------------------------------------------------------------------------------------------


@every_bend
@pytest.mark.parametrize("bias", [False, True])
def test_a_bend_computed_again_is_the_bend(name: str, bias: bool) -> None:
    bend, wide = BENDS[name]
    inputs = random((D, W), *[(D,)] * bias, *[(B, T, W)] * wide)

    def with_(formula: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda weight, *rest: formula(bend, weight, rest[0] if bias else None, *rest[bias:])

    lean_ones, plain_ones = (answer_and_gradients(with_(f), inputs) for f in (bend_and_narrow, plain_bend_and_narrow))
    for ours, theirs in zip(lean_ones, plain_ones, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(with_(bend_and_narrow), inputs)


@every_bend
@pytest.mark.parametrize("bias", [False, True])
def test_under_autocast_an_mlp_computes_as_autocast_would(
    name: str, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ModelConfig(d_model=D, n_heads=3, d_ff=W, mlp=name, bias=bias)  # type: ignore[arg-type]
    part = mlp(config)
    with torch.no_grad():
        for weight in part.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(1))
    (x_BTD,) = random((B, T, D), dtype=torch.float32)
    inputs, results = [x_BTD, *part.parameters()], []
    for large in (0, 1 << 62):
        monkeypatch.setattr(lean, "LARGE", large)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y_BTD = part(x_BTD)
        results.append([y_BTD, *torch.autograd.grad(y_BTD.float().square().sum(), inputs)])
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=0.01, atol=0.01 * theirs.detach().abs().max().item())


def kept_numbers(part: nn.Module, x_BTD: Tensor) -> int:
    """How many numbers a part keeps for its backward pass, weights not counted."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y_BTD = part(x_BTD)
    weights = {weight.untyped_storage().data_ptr() for weight in part.parameters()}
    total = sum(size for address, size in kept.items() if address not in weights)
    del y_BTD
    return total


@every_bend
def test_an_mlp_keeps_its_input_and_its_wide_layer_once(name: str) -> None:
    part: MLP | SwiGLU = mlp(ModelConfig(d_model=D, n_heads=3, d_ff=W, mlp=name))  # type: ignore[arg-type]
    (x_BTD,) = random((B, T, D), dtype=torch.float32)
    assert kept_numbers(part, x_BTD) == B * T * (D + BENDS[name][1] * W)


def test_lean_attention_keeps_one_tensor_of_weights() -> None:
    sizes: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        leanly(*heads())
    assert sum(sizes) == B * H * (T * S + T * K + 2 * S * K)
