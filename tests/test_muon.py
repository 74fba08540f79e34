"""Muon, batched and by parts, gives what torch's own gives to each matrix alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from glassgpt.config import ModelConfig, TrainingConfig
from glassgpt.model.gpt import GPT
from glassgpt.training.muon import Muon, orthogonalize
from glassgpt.training.optim import Optimizers

LR, DECAY, MOMENTUM = 0.02, 0.3, 0.95
STEPS = 4
TALL, WIDE, SQUARE = (60, 12), (12, 60), (24, 24)
SHAPES = [TALL, WIDE, SQUARE, (7, 5), (1, 9), SQUARE, WIDE]  # some share a batch, tall ones with wide ones too
ROWS = [(12, 12, 12), (24, 8, 8), (24, 24, 24)]  # queries, keys, values: of equal and of grouped heads
# The arithmetic is torch's: where a batch is summed in torch's order, answers are equal to the bit. Another kernel may
# round bf16 differently, which five rounds make larger: bf16 and fp32 were up to 0.04 apart in an entry of a direction.
TOLERANCE = STEPS * LR * 0.05


def matrices(shapes: Sequence[tuple[int, int]], *, seed: int = 0) -> list[nn.Parameter]:
    rng = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=rng)) for shape in shapes]


def gradients(shapes: Sequence[tuple[int, int]], *, step: int) -> list[Tensor]:
    """Of very different sizes, as in a model: only their directions may count."""
    rng = torch.Generator().manual_seed(100 + step)
    return [torch.randn(shape, generator=rng) * 10.0 ** -(place % 4) for place, shape in enumerate(shapes)]


def muon(parameters: list[nn.Parameter], rows: tuple[int, ...] | None = None) -> Muon:
    return Muon([{"params": parameters, "rows": rows}], lr=LR, weight_decay=DECAY, momentum=MOMENTUM)


def assert_near(mine: Tensor, truth: Tensor) -> None:
    torch.testing.assert_close(mine, truth, rtol=0, atol=TOLERANCE)


def follow(optimizer: torch.optim.Optimizer | Muon, push: Callable[[int], None], *, first: int = 0) -> None:
    for step in range(first, STEPS):
        push(step)
        optimizer.step()


def pushing(parameters: Sequence[nn.Parameter]) -> Callable[[int], None]:
    shapes = [(len(parameter), parameter.shape[1]) for parameter in parameters]

    def push(step: int) -> None:
        for parameter, gradient in zip(parameters, gradients(shapes, step=step), strict=True):
            parameter.grad = gradient

    return push


def after_torch(shapes: Sequence[tuple[int, int]]) -> list[nn.Parameter]:
    """The slow truth: one matrix after the other."""
    parameters = matrices(shapes)
    follow(torch.optim.Muon(parameters, lr=LR, weight_decay=DECAY, momentum=MOMENTUM), pushing(parameters))
    return parameters


@pytest.mark.parametrize("shapes", [[TALL], [WIDE], [SQUARE], SHAPES])
def test_a_batch_of_matrices_moves_as_torch_moves_each_alone(shapes: list[tuple[int, int]]) -> None:
    ours = matrices(shapes)
    follow(muon(ours), pushing(ours))
    for mine, truth, start in zip(ours, after_torch(shapes), matrices(shapes), strict=True):
        assert_near(mine, truth)
        assert (mine - start).abs().max() > 4 * TOLERANCE  # they went somewhere: equality says something


@pytest.mark.parametrize("rows", ROWS)
def test_the_parts_of_a_fused_matrix_move_as_three_matrices_would(rows: tuple[int, ...]) -> None:
    shapes = [(height, 24) for height in rows]
    fused = nn.Parameter(torch.cat([part.detach() for part in matrices(shapes)]))

    def push(step: int) -> None:
        fused.grad = torch.cat(gradients(shapes, step=step))

    follow(muon([fused], rows), push)
    assert_near(fused, torch.cat([part.detach() for part in after_torch(shapes)]))


def test_who_shares_a_batch_and_in_which_order_changes_no_bit() -> None:
    ours, turned = matrices(SHAPES), matrices(SHAPES)
    follow(muon(ours), pushing(ours))
    follow(muon(turned[::-1]), pushing(turned))
    for mine, other in zip(ours, turned, strict=True):
        assert torch.equal(mine, other)


def test_a_muon_that_takes_over_the_memory_goes_on_to_the_same_bits() -> None:
    whole, first = matrices(SHAPES), matrices(SHAPES)
    follow(muon(whole), pushing(whole))
    early = muon(first)
    for step in range(2):
        pushing(first)(step)
        early.step()
    second = [nn.Parameter(parameter.detach().clone()) for parameter in first]
    late = muon(second)
    for old, new in zip(first, second, strict=True):
        assert list(early.state[old]) == ["momentum_buffer"]
        late.state[new]["momentum_buffer"] = early.state[old]["momentum_buffer"].clone()
    follow(late, pushing(second), first=2)
    for mine, truth in zip(second, whole, strict=True):
        assert torch.equal(mine, truth)


def test_a_matrix_without_a_gradient_stays_and_one_of_zeros_only_decays() -> None:
    still, zero = matrices([SQUARE, SQUARE])
    before = [still.detach().clone(), zero.detach().clone()]
    zero.grad = torch.zeros(SQUARE)
    optimizer = muon([still, zero])
    optimizer.step()
    assert torch.equal(still, before[0])
    assert still not in optimizer.state
    torch.testing.assert_close(zero.detach(), before[1] * (1 - LR * DECAY))


def test_singular_values_far_apart_come_close_to_one() -> None:
    rng = torch.Generator().manual_seed(5)
    left, right = (torch.linalg.qr(torch.randn(2, 16, 16, generator=rng)).Q for _ in "lr")
    sizes = torch.linspace(0.0, -2.0, 16)  # the largest a hundred times the smallest
    matrices_NRC = left @ torch.diag(10**sizes) @ right
    values = torch.linalg.svdvals(orthogonalize(matrices_NRC.float()))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_rows_that_do_not_fill_the_matrix_are_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match=r"rows=\(12, 8\) do not fill \(24, 24\)"):
        muon(matrices([SQUARE]), (12, 8))


@pytest.mark.parametrize(("kv_heads", "rows"), [(None, (24, 24, 24)), (2, (24, 12, 12))])
def test_a_model_tells_how_its_queries_keys_and_values_lie(kv_heads: int | None, rows: tuple[int, ...]) -> None:
    model = GPT(ModelConfig(vocab_size=23, d_model=24, n_layers=2, n_heads=4, n_kv_heads=kv_heads, mlp="swiglu"))
    (ours,) = (part for part in Optimizers(model, TrainingConfig(optimizer="muon"))._parts if isinstance(part, Muon))
    names = {parameter: name for name, parameter in model.named_parameters()}
    split = {names[p]: group["rows"] for group in ours.param_groups for p in group["params"] if group["rows"]}
    assert split == {f"blocks.{place}.attention.qkv.weight": rows for place in range(2)}


def test_the_loss_scaler_skips_a_step_that_overflowed_and_takes_one_that_did_not() -> None:
    (matrix,) = matrices([SQUARE])
    before = matrix.detach().clone()
    optimizer, scaler = muon([matrix]), torch.amp.GradScaler("cpu", init_scale=4.0)
    for size, moves in [(float("inf"), False), (1.0, True)]:
        matrix.grad = None
        scaler.scale((matrix * size).sum()).backward()  # type: ignore[no-untyped-call]
        scaler.unscale_(optimizer)  # type: ignore[arg-type]  # it only asks for the groups
        scaler.step(optimizer)  # type: ignore[arg-type]
        scaler.update()
        assert torch.equal(matrix, before) != moves
