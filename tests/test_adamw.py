"""AdamW moves every number where torch's own moves it, to the bit, and does not wake torch's compiler for it."""

from __future__ import annotations

import subprocess
import sys
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from glassgpt.config import ModelConfig, TrainingConfig
from glassgpt.model.gpt import GPT
from glassgpt.training.adamw import AdamW
from glassgpt.training.optim import Optimizers

SHAPES = [(5, 7), (64, 33), (3,), (), (1, 1)]
LR, BETAS, DECAY, STEPS = 0.03, (0.8, 0.95), 0.2, 12


def parameters() -> list[nn.Parameter]:
    rng = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=rng)) for shape in SHAPES]


def push(parameters: list[nn.Parameter], step: int) -> None:
    """Gradients of very different sizes; the second parameter sits out every third step."""
    rng = torch.Generator().manual_seed(100 + step)
    for place, parameter in enumerate(parameters):
        gradient = torch.randn(parameter.shape, generator=rng) * 10.0 ** (-3 * place)
        parameter.grad = None if place == 1 and step % 3 == 2 else gradient


@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_every_step_is_that_of_torch_to_the_bit(decay: float) -> None:
    ours, theirs = parameters(), parameters()
    mine = AdamW([{"params": ours[:2], "weight_decay": decay}, {"params": ours[2:], "lr": 0.1}], lr=LR, betas=BETAS)
    truth = torch.optim.AdamW(
        [{"params": theirs[:2], "weight_decay": decay}, {"params": theirs[2:], "lr": 0.1}],
        lr=LR, betas=BETAS, weight_decay=0.0, fused=True,
    )  # fmt: skip
    for step in range(STEPS):
        for optimizer, moved in ((mine, ours), (truth, theirs)):
            push(moved, step)
            for group in optimizer.param_groups:
                group["lr"] *= 0.9
            optimizer.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    for a, b in zip(ours, theirs, strict=True):
        assert mine.state[a].keys() == truth.state[b].keys()
        assert all(torch.equal(mine.state[a][key], truth.state[b][key]) for key in mine.state[a])


def test_the_formula_in_its_docstring_is_what_it_computes() -> None:
    rng = torch.Generator().manual_seed(3)
    w, moved = torch.randn(50, generator=rng, dtype=torch.float64), nn.Parameter(torch.empty(50))
    moved.data = w.float()
    optimizer = AdamW([{"params": [moved]}], lr=LR, betas=BETAS, weight_decay=DECAY)
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    for t in range(1, STEPS):
        g = torch.randn(50, generator=rng, dtype=torch.float64)
        moved.grad = g.float()
        optimizer.step()
        w = w * (1 - LR * DECAY)
        m, v = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * v + (1 - BETAS[1]) * g**2
        w = w - LR * (m / (1 - BETAS[0] ** t)) / ((v / (1 - BETAS[1] ** t)).sqrt() + 1e-8)
        torch.testing.assert_close(moved.detach().double(), w, rtol=1e-5, atol=1e-6)


def test_a_step_to_be_skipped_changes_nothing_and_the_next_goes_on_as_if_it_had_not_been() -> None:
    with_gap, without = parameters(), parameters()
    skipping = AdamW([{"params": with_gap}], lr=LR, betas=BETAS, weight_decay=DECAY)
    plain = AdamW([{"params": without}], lr=LR, betas=BETAS, weight_decay=DECAY)
    for step in range(6):
        push(with_gap, step)
        bad = step == 3
        skipping.found_inf = torch.tensor(float(bad))
        if bad:
            for parameter in with_gap:
                parameter.grad = torch.full_like(parameter, float("nan"))
        before = [parameter.detach().clone() for parameter in with_gap]
        skipping.step()
        if bad:
            assert all(torch.equal(a, b) for a, b in zip(before, with_gap, strict=True))
            continue
        push(without, step)
        plain.step()
    assert all(torch.equal(a, b) for a, b in zip(with_gap, without, strict=True))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_loss_scaler_of_torch_can_work_with_ours(optimizer: Literal["adamw", "muon"]) -> None:
    config = ModelConfig(vocab_size=11, d_model=16, n_layers=1, n_heads=2, max_seq_len=8)
    model = GPT(config, seed=1)
    optimizers = Optimizers(model, TrainingConfig(optimizer=optimizer))
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    _, loss = model(torch.zeros(2, 8, dtype=torch.long), torch.zeros(2, 8, dtype=torch.long))
    loss.backward()
    plain: list[Tensor] = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    _, loss = model(torch.zeros(2, 8, dtype=torch.long), torch.zeros(2, 8, dtype=torch.long))
    scaler.scale(loss).backward()
    optimizers.unscale(scaler)
    for parameter, gradient in zip((p for p in model.parameters() if p.grad is not None), plain, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-8)


def test_training_does_not_wait_for_the_compiler_that_it_does_not_use() -> None:
    program = """
import sys, torch
from glassgpt.config import ModelConfig, TrainingConfig
from glassgpt.model.gpt import GPT
from glassgpt.training.optim import Optimizers
for optimizer in ("adamw", "muon"):
    model = GPT(ModelConfig(vocab_size=11, d_model=16, n_layers=1, n_heads=2, max_seq_len=8), seed=1)
    optimizers = Optimizers(model, TrainingConfig(optimizer=optimizer))
    _, loss = model(torch.zeros(2, 8, dtype=torch.long), torch.zeros(2, 8, dtype=torch.long))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizers.step()
assert "torch._dynamo" not in sys.modules
assert "sympy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
