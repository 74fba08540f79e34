"""The derivatives written by hand are those that torch finds by itself, and so are the functions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from glassgpt.model import derivatives

B, T, H, K, D = 2, 7, 3, 6, 10  # all different: a swapped axis cannot pass

Formula = Callable[..., Tensor]
PAIRS: dict[str, tuple[Formula, Formula, list[tuple[int, ...]]]] = {
    "rms_norm": (derivatives.rms_norm, derivatives.plain_rms_norm, [(B, T, D), (D,)]),
    "rms_norm of heads": (derivatives.rms_norm, derivatives.plain_rms_norm, [(B, T, H, K), (H, K)]),
    "gelu": (derivatives.gelu, derivatives.plain_gelu, [(B, T, D)]),
    "relu2": (derivatives.relu2, derivatives.plain_relu2, [(B, T, D)]),
    "shift by 1": (derivatives.shift, derivatives.plain_shift, [(B, T, D), (1, D)]),
    "shift by 3": (derivatives.shift, derivatives.plain_shift, [(B, T, D), (3, D)]),
}
every_pair = pytest.mark.parametrize("name", PAIRS)


def values(shapes: list[tuple[int, ...]], *, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    rng = torch.Generator().manual_seed(1)
    return [(scale * torch.randn(shape, generator=rng, dtype=dtype)).requires_grad_() for shape in shapes]


def answer_and_gradients(formula: Formula, inputs: list[Tensor]) -> list[Tensor]:
    y = formula(*inputs)
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=y.dtype)
    return [y.detach(), *torch.autograd.grad(y, inputs, g)]


@every_pair
@given(scale=st.sampled_from([1e-4, 0.1, 1.0, 10.0]))
def test_by_hand_it_is_the_plain_formula_at_every_size(name: str, scale: float) -> None:
    fast, plain, shapes = PAIRS[name]
    inputs = values(shapes, scale=scale)
    for ours, theirs in zip(answer_and_gradients(fast, inputs), answer_and_gradients(plain, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@every_pair
def test_the_derivative_is_the_slope(name: str) -> None:
    fast, _, shapes = PAIRS[name]
    assert torch.autograd.gradcheck(fast, values(shapes))


@every_pair
def test_in_half_precision_it_errs_no_more_than_the_plain_formula(name: str) -> None:
    fast, plain, shapes = PAIRS[name]
    exact = answer_and_gradients(plain, values(shapes))
    rough = [value.detach().bfloat16().requires_grad_() for value in values(shapes)]
    ours, theirs = answer_and_gradients(fast, rough), answer_and_gradients(plain, rough)
    for a, b, truth in zip(ours, theirs, exact, strict=True):
        assert a.dtype == torch.bfloat16
        error, allowed = (a - truth).norm(), (b - truth).norm()
        assert error <= 1.5 * allowed + 0.005 * truth.norm()  # 0.004 is the rounding of one bf16 number


@every_pair
def test_a_compiler_sees_the_plain_formula(name: str) -> None:
    fast, _, shapes = PAIRS[name]
    graphs: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph.code)
        return graph

    torch.compile(fast, backend=backend)(*values(shapes))
    assert graphs
    assert not any("autograd_function" in graph for graph in graphs)
