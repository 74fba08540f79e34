"""What each part of a training step has to do at least, by arithmetic: operations, and bytes that must be moved.

Divided by what the machine multiplies and moves in a second, that is the part's limit. Nothing is measured here; where
the time really goes is told in `profile.py`, and `model/count.py` counts the model as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from glassgpt.config import ModelConfig, TrainingConfig
from glassgpt.model.count import BF16, FP32, count_parameters, vocab_size
from glassgpt.training.muon import ROUNDS

BATCH, EMBEDDING, ATTENTION, MLP, NORMS, HEAD = "batch", "embedding", "attention", "mlp", "norms, shifts", "head, loss"
CLIPPING, OPTIMIZER, REST = "clipping", "optimizer", "the rest"
PARTS = (BATCH, EMBEDDING, ATTENTION, MLP, NORMS, HEAD, CLIPPING, OPTIMIZER, REST)


@dataclass(frozen=True)
class Work:
    """The least that a part of a step has to do, forward and backward."""

    flops: int = 0
    moved_bytes: int = 0

    def limit_s(self, flops_per_s: float, bytes_per_s: float) -> float:
        return max(self.flops / flops_per_s, self.moved_bytes / bytes_per_s)


def work(config: ModelConfig, training: TrainingConfig, *, half: bool) -> dict[str, Work]:
    """By part. Products count as in `count.flops_per_token`, with both halves of attention; Muon's rounds come on top.

    Bytes are what has to be read and written once, were everything within a part kept in the processor: the stream
    in and out (in fp32) and each part's weights, thrice; for the optimizer what AdamW reads and writes.
    """
    counted, seq_len = count_parameters(config), training.seq_len
    tokens, muon = training.batch_size * seq_len, training.optimizer == "muon"
    D, L, size = config.d_model, config.n_layers, BF16 if half else FP32
    attention = L * D * ((config.n_heads + 2 * config.kv_heads) * config.head_width + D)
    mlp = L * (3 if config.mlp == "swiglu" else 2) * D * config.mlp_width
    head = vocab_size(config) * D
    stream = 3 * 2 * tokens * D * FP32
    shifts = 1 + 2 * L if config.token_shift else 0
    return {
        EMBEDDING: Work(0, 2 * tokens * D * FP32),
        ATTENTION: Work(6 * attention * tokens + 12 * L * D * seq_len * tokens, L * stream + 3 * attention * size),
        MLP: Work(6 * mlp * tokens, L * stream + 3 * mlp * size),
        NORMS: Work(0, (2 * L + 1 + shifts) * stream),
        HEAD: Work(6 * head * tokens, stream // 2 + 3 * head * size + 4 * tokens * vocab_size(config) * FP32),
        CLIPPING: Work(0, 3 * counted.total * FP32),
        OPTIMIZER: Work(muon_flops(config) if muon else 0, 7 * counted.total * FP32),
    }


def muon_flops(config: ModelConfig) -> int:
    """Of a matrix of m rows on its long side n, each round makes products of m x n x m, m x m x m and m x m x n."""
    D, F, K = config.d_model, config.mlp_width, config.head_width
    kv = config.kv_heads * K
    shapes = [(D, D), (kv, D), (kv, D), (D, D), *[(F, D)] * (3 if config.mlp == "swiglu" else 2)]
    return config.n_layers * ROUNDS * sum(2 * min(shape) ** 2 * (2 * max(shape) + min(shape)) for shape in shapes)
