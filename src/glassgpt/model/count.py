"""How many parameters, operations and bytes a model costs, by arithmetic alone.

Nothing is built and torch is not imported: `glassgpt info` answers at once, and a
sweep can refuse what would not fit. A test holds the sums to the real modules of `gpt.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from glassgpt.config import ModelConfig
from glassgpt.errors import ConfigError
from glassgpt.wording import counted

FP32, BF16 = 4, 2  # bytes


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Numbers that are learned, by what they belong to."""

    token_embedding: int
    position_embedding: int
    attention: int
    mlp: int
    norms: int
    shifts: int
    head: int  # 0 where it is the token embedding again

    @property
    def total(self) -> int:
        return self.token_embedding + self.position_embedding + self.without_embeddings

    @property
    def without_embeddings(self) -> int:
        """What scaling laws count: tables that are only looked up are left out."""
        return self.attention + self.mlp + self.norms + self.shifts + self.head


def count_parameters(config: ModelConfig) -> Parameters:
    if config.architecture == "bigram":
        table = vocab_size(config) ** 2
        return Parameters(token_embedding=table, position_embedding=0, attention=0, mlp=0, norms=0, shifts=0, head=0)
    D, L = config.d_model, config.n_layers
    norm = D * (2 if config.norm == "layernorm" and config.bias else 1)
    return Parameters(
        token_embedding=vocab_size(config) * D,
        position_embedding=config.max_seq_len * D if config.position == "learned" else 0,
        attention=L * attention_parameters(config),
        mlp=L * mlp_parameters(config),
        norms=(2 * L + 1) * norm,
        shifts=(2 * L + 1) * config.token_shift * D,
        head=0 if config.tie_weights else vocab_size(config) * D,
    )


def attention_parameters(config: ModelConfig) -> int:
    """Of one block: queries, keys and values in one matrix, the output, and two norms as wide as a head."""
    D, K = config.d_model, config.head_width
    qkv = (config.n_heads + 2 * config.kv_heads) * K
    return D * qkv + D * D + (qkv + D if config.bias else 0) + (2 * K if config.qk_norm else 0)


def mlp_parameters(config: ModelConfig) -> int:
    """Of one block: into the wide layer once (swiglu: twice) and back."""
    D, F = config.d_model, config.mlp_width
    ways_in = 2 if config.mlp == "swiglu" else 1
    return (ways_in + 1) * D * F + (ways_in * F + D if config.bias else 0)


def flops_per_token(config: ModelConfig, seq_len: int) -> int:
    """Floating-point operations of training on one token, forward and backward, as PaLM (appendix B) counts them.

    A weight that multiplies costs a multiplication and an addition, and twice that in the backward pass (for its
    input and for itself): 6. Attention multiplies twice with every position, scores and then values: 2 x 6 x D.
    The half that causality hides is counted too, so that figures compare with those of others.
    """
    if config.architecture == "bigram":
        return 0  # a row is looked up, and nothing is multiplied
    D, K = config.d_model, config.head_width
    attention = D * (config.n_heads + 2 * config.kv_heads) * K + D * D
    mlp = (3 if config.mlp == "swiglu" else 2) * D * config.mlp_width
    weights = config.n_layers * (attention + mlp) + vocab_size(config) * D
    return 6 * weights + 12 * config.n_layers * D * seq_len


@dataclass(frozen=True, kw_only=True)
class TrainingBytes:
    """What a training step holds in memory."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations


def training_bytes(
    config: ModelConfig, *, batch_size: int, seq_len: int, half: bool = False, checkpointing: bool = False
) -> TrainingBytes:
    """An estimate: weights, gradients and AdamW's two moments in fp32, and what the forward pass keeps for later.

    `half` is bf16 or fp16 autocast, where products are kept in two bytes.
    """
    parameters = FP32 * count_parameters(config).total
    tokens, D = batch_size * seq_len, config.d_model
    block = tokens * block_activations(config, seq_len) * (BF16 if half else FP32)
    blocks = config.n_layers * block
    if config.architecture == "bigram":
        blocks = 0
    elif checkpointing:  # each block keeps its input, and one at a time is computed again
        blocks = config.n_layers * tokens * D * FP32 + block
    logits = 2 * tokens * vocab_size(config) * FP32  # themselves, and their log-softmax
    return TrainingBytes(
        weights=parameters, gradients=parameters, optimizer=2 * parameters, activations=blocks + logits
    )


def block_activations(config: ModelConfig, seq_len: int) -> int:
    """Numbers that one block keeps per token.

    Both normalised inputs, both outputs in the stream, and the mixed values: 5 D; queries, keys and values; the
    attention weights (a fused kernel has none); the wide layer before and after its bend, and the gate of swiglu.
    """
    qkv = (config.n_heads + 2 * config.kv_heads) * config.head_width
    wide = (4 if config.mlp == "swiglu" else 2) * config.mlp_width
    weights = 0 if config.attention == "sdpa" else config.n_heads * seq_len
    return 5 * config.d_model + qkv + weights + wide


def cache_bytes(config: ModelConfig, *, batch_size: int = 1, bytes_each: int = FP32) -> int:
    """What generation remembers: keys, values and shifted inputs, for the whole context (`cache.py`)."""
    if config.architecture == "bigram":
        return 0
    keys_and_values = 2 * config.n_layers * config.kv_heads * config.head_width * config.max_seq_len
    shifted = 0
    if config.token_shift:
        shifted = (2 * config.n_layers + 1) * config.d_model * (config.max_seq_len + config.token_shift)
    return batch_size * (keys_and_values + shifted) * bytes_each


def vocab_size(config: ModelConfig) -> int:
    if config.vocab_size is None:
        raise ConfigError("vocab_size is not set, so the model cannot be counted; take it from the tokenizer")
    return config.vocab_size


def form_of(config: ModelConfig) -> str:
    """A model in one line, for people."""
    if config.architecture == "bigram":
        return f"bigram: a table with the odds of what follows each of {config.vocab_size} tokens"
    extras = [
        "tied" if config.tie_weights else "untied",
        "biases" if config.bias else "no biases",
        *(["QK-norm"] if config.qk_norm else []),
        *([counted(config.kv_heads, "key-value head")] if config.kv_heads != config.n_heads else []),
        *([f"token shift {config.token_shift}"] if config.token_shift else []),
    ]
    parts = f"{counted(config.n_layers, 'layer')}, {counted(config.n_heads, 'head')}"
    size = f"{parts}, width {config.d_model}, MLP {config.mlp_width}"
    return f"{size}, context {config.max_seq_len}; {config.position}, {config.norm}, {config.mlp}, {', '.join(extras)}"
