"""The training loops of others, each a model with a `step`, as its own project runs it.

nanoGPT: its `model.py` from a checkout, and the work of its `train.py` written out: batches gathered window by
window, forward, backward, clipping, AdamW in its two groups; eager fp32, as on its README's CPU line (`compile=False`).
transformers: `GPT2LMHeadModel` with AdamW, in the same loop. Timing, losses and tables are the programs' own.
"""

from __future__ import annotations

import contextlib
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import nanogpt
from torch import Tensor, nn

Ids = Any  # a numpy array of token ids


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A GPT-2 without biases, and the batch that it is trained on."""

    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    batch_size: int
    dropout: float = 0.0
    vocab_size: int = 65

    @property
    def tokens(self) -> int:
        return self.batch_size * self.block_size


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What nanoGPT's `train.py` calls by these names."""

    max_iters: int
    learning_rate: float = 1e-3
    min_lr: float = 1e-4
    warmup_iters: int = 100
    weight_decay: float = 0.1
    beta2: float = 0.99
    grad_clip: float = 1.0

    def rate(self, step: int) -> float:
        if step < self.warmup_iters:
            return self.learning_rate * (step + 1) / (self.warmup_iters + 1)
        done = (step - self.warmup_iters) / (self.max_iters - self.warmup_iters)
        return self.min_lr + 0.5 * (1 + math.cos(math.pi * min(1.0, done))) * (self.learning_rate - self.min_lr)


# README of nanoGPT, "I only have a macbook": its training on a CPU.
CPU_SHAPE = Shape(n_layer=4, n_head=4, n_embd=128, block_size=64, batch_size=12)
CPU_RECIPE = Recipe(max_iters=2000)
MEDIUM_SHAPE = Shape(n_layer=6, n_head=6, n_embd=384, block_size=256, batch_size=64, dropout=0.2)


class Peer:
    """Somebody's model in nanoGPT's loop."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, ids: Ids, shape: Shape, recipe: Recipe):
        self.model, self.optimizer, self.ids, self.shape, self.recipe = model, optimizer, ids, shape, recipe
        self.taken = 0
        self.batch = self.get_batch()

    def step(self) -> None:
        """One turn of `train.py`'s loop; the next batch is gathered behind the forward pass, as there."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(self.taken)
        loss = self.loss(*self.batch)
        self.batch = self.get_batch()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        loss.item() if self.taken % 10 == 0 else None  # its log_interval for this recipe
        self.taken += 1

    def get_batch(self) -> tuple[Tensor, Tensor]:
        length, count = self.shape.block_size, self.shape.batch_size
        starts = torch.randint(len(self.ids) - length, (count,)).tolist()
        x = torch.stack([torch.from_numpy(self.ids[at : at + length].astype(np.int64)) for at in starts])
        y = torch.stack([torch.from_numpy(self.ids[at + 1 : at + 1 + length].astype(np.int64)) for at in starts])
        return x, y

    def loss(self, ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        loss: Tensor = self.model(ids_BT, targets_BT)[1]
        return loss

    @torch.no_grad()
    def full_loss(self, ids: Ids) -> float:
        """The mean over all of a split, in windows of the context side by side."""
        self.model.eval()
        length, total = self.shape.block_size, 0.0
        windows = (len(ids) - 1) // length
        for first in range(0, windows, 64):
            count = min(64, windows - first)
            piece = torch.from_numpy(ids[first * length : (first + count) * length + 1].astype(np.int64))
            total += count * self.loss(piece[:-1].view(count, length), piece[1:].view(count, length)).item()
        self.model.train()
        return total / windows


class Transformers(Peer):
    def loss(self, ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        logits_BTV = self.model(input_ids=ids_BT, use_cache=False).logits
        return nn.functional.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())


def nanogpt_peer(
    checkout: str | Path, ids: Ids, shape: Shape, recipe: Recipe = CPU_RECIPE, *, seed: int = 1337
) -> Peer:
    torch.manual_seed(seed)
    theirs = nanogpt(checkout)
    fields = {name: value for name, value in vars(shape).items() if name != "batch_size"}
    with contextlib.redirect_stdout(io.StringIO()):  # it tells its number of parameters
        model = theirs.GPT(theirs.GPTConfig(**fields, bias=False))
        optimizer = model.configure_optimizers(recipe.weight_decay, recipe.learning_rate, (0.9, recipe.beta2), "cpu")
    return Peer(model.train(), optimizer, ids, shape, recipe)


def transformers_peer(ids: Ids, shape: Shape, recipe: Recipe = CPU_RECIPE, *, seed: int = 1337) -> Peer:
    """The same size; its GPT-2 always has biases."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=shape.vocab_size, n_positions=shape.block_size, n_embd=shape.n_embd, n_layer=shape.n_layer,
        n_head=shape.n_head, resid_pdrop=shape.dropout, embd_pdrop=shape.dropout, attn_pdrop=shape.dropout,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).train()
    parts = [[p for p in model.parameters() if (p.dim() >= 2) == decays] for decays in (True, False)]
    groups = [{"params": parts[0], "weight_decay": recipe.weight_decay}, {"params": parts[1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, recipe.beta2))
    return Transformers(model, optimizer, ids, shape, recipe)
