"""Dropout by random bits is dropout: the share, the mean, the gradient and the seed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from glassgpt.model.dropout import BITS, Dropout, coins, drop, mark_

every_dtype = pytest.mark.parametrize("dtype", BITS, ids=str)
SHARES = [0.1, 0.2, 0.5, 0.9]


@every_dtype
@pytest.mark.parametrize("share", SHARES)
def test_what_is_kept_is_divided_by_the_share_that_remains(share: float, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    y = drop(torch.ones(999, dtype=dtype), share)
    assert set(y.tolist()) == {0.0, torch.tensor(1 / (1 - share), dtype=dtype).item()}


@pytest.mark.parametrize("share", SHARES)
def test_the_share_is_the_one_asked_for_and_the_mean_stays(share: float) -> None:
    count = 2_000_003  # no multiple of the four that one draw decides on
    torch.manual_seed(1)
    y = drop(torch.ones(count), share)
    error = math.sqrt(share * (1 - share) / count)  # of a share counted among so many
    assert abs((y == 0).double().mean().item() - share) < 4 * error
    assert abs(y.double().mean().item() - 1) < 4 * error / (1 - share)


def test_neighbours_are_drawn_independently() -> None:
    torch.manual_seed(1)
    dropped = coins(torch.Size([1_000_000]), 0.5).double() + 0.5
    for apart in range(1, 9):  # four coins come from one draw
        together = (dropped[apart:] * dropped[:-apart]).mean().item() * 4
        assert abs(together) < 4 / math.sqrt(1_000_000)


@pytest.mark.parametrize("share", [1e-9, 1 - 1e-9])
def test_shares_next_to_nothing_and_all_still_work(share: float) -> None:
    assert set(coins(torch.Size([100_000]), share).tolist()) <= {-1, 0}
    assert abs(-coins(torch.Size([100_000]), share).float().mean().item() - share) < 1e-3


@every_dtype
def test_the_gradient_goes_where_the_numbers_went(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    x = torch.ones(7, 13, dtype=dtype, requires_grad=True)
    y = drop(x, 0.3)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, y.detach())


@every_dtype
def test_the_seed_decides(dtype: torch.dtype) -> None:
    def drawn(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return drop(torch.ones(5, 3, 7, dtype=dtype), 0.5)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


@every_dtype
def test_a_minus_marks_what_dropout_drops(dtype: torch.dtype) -> None:
    x = torch.rand(5, 7, generator=torch.Generator().manual_seed(1)).to(dtype)
    torch.manual_seed(2)
    marked = mark_(x.clone(), 0.4)
    torch.manual_seed(2)
    dropped = drop(torch.ones_like(x), 0.4) == 0
    assert torch.equal(marked.abs(), x)
    assert torch.equal(marked.signbit(), dropped)


@pytest.mark.parametrize("part", [Dropout(0.0), Dropout(0.5).eval()], ids=str)
def test_without_a_share_or_without_training_nothing_happens_and_nothing_is_drawn(part: nn.Module) -> None:
    x, before = torch.randn(4, 5), torch.get_rng_state()
    assert part(x) is x
    assert torch.equal(torch.get_rng_state(), before)


def test_a_compiler_sees_torch_s_own_dropout() -> None:
    graphs: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph.code)
        return graph

    torch.compile(drop, backend=backend)(torch.ones(5), 0.5)
    assert any("dropout" in graph and "random_" not in graph for graph in graphs)
