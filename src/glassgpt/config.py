"""What a run is made of: frozen, validated pieces, each handed to the part that needs it.

A field is written once, here: its name is the YAML key and the flag, its description the help.
Where the values come from (presets, files, flags, other people's names) is told in `settings.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from glassgpt.errors import ConfigError
from glassgpt.wording import refusal, truth_for_a_number

Count = Annotated[int, Field(ge=1, le=10**12)]  # the largest are beyond any run, and before numbers overflow
CountOrZero = Annotated[int, Field(ge=0, le=10**12)]
Size = Annotated[int, Field(ge=1, le=1 << 20)]  # beyond any model, and before building one would take for ever
Seed = Annotated[int, Field(ge=0, le=1 << 63)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Words = Annotated[str, Field(min_length=1)]  # an empty one is what an unset variable of a shell leaves
Weights = Literal["fp32", "bf16", "int8"]

PUBLISHABLE = (".safetensors", ".pt", ".csv")  # what a run can leave in other places: its best checkpoint, its log


def field(default: Any, description: str) -> Any:
    return Field(default=default, description=description)


class Piece(BaseModel):
    """A part of the configuration: nothing unknown gets in, nothing changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, protected_namespaces=())

    def __init__(self, **values: Any) -> None:
        known = type(self).model_fields
        if wrong := truth_for_a_number(values, known):
            raise ConfigError(wrong)
        try:
            super().__init__(**values)
        except ValidationError as problem:
            raise ConfigError(refusal(problem, known)) from None

    def but(self, **changes: Any) -> Any:
        """The same piece with some values changed, checked again."""
        return type(self)(**(self.model_dump() | changes))


class ModelConfig(Piece):
    """the model"""

    architecture: Literal["gpt", "bigram"] = field("gpt", "gpt, or the bigram model that it grows from (a table)")
    vocab_size: Size | None = field(None, "how many different tokens there are; left out, the tokenizer decides")
    d_model: Size = field(128, "width of the residual stream")
    n_layers: Annotated[int, Field(ge=1, le=10_000)] = field(2, "number of transformer blocks")
    n_heads: Size = field(4, "attention heads in each block; they share d_model evenly")
    n_kv_heads: Size | None = field(None, "heads for keys and values (grouped-query attention); left out, n_heads")
    d_ff: Size | None = field(None, "hidden width of the MLP; left out, 4 x d_model (8/3 x d_model for swiglu)")
    max_seq_len: Size = field(256, "longest context, in tokens")
    dropout: Annotated[float, Field(ge=0, lt=1)] = field(0.0, "share of activations dropped while training")
    position: Literal["learned", "rope"] = field("rope", "how the model knows the order of tokens")
    rope_base: Positive = field(10_000.0, "slowest wavelength of the rotary positions, as a base")
    norm: Literal["layernorm", "rmsnorm"] = field("rmsnorm", "the normalisation before each part")
    mlp: Literal["gelu", "gelu_exact", "relu2", "swiglu"] = field(
        "swiglu", "the MLP's form: gelu (GPT-2's tanh), gelu_exact, relu2 (squared ReLU) or swiglu"
    )
    bias: bool = field(False, "biases in linear layers and layer norms")
    tie_weights: bool = field(True, "one matrix for the token embedding and the output")
    qk_norm: bool = field(True, "RMS-normalise queries and keys in every head")
    token_shift: Annotated[int, Field(ge=0, le=3)] = field(0, "mix in up to this many previous positions, per channel")
    attention: Literal["auto", "sdpa", "math"] = field("auto", "fused kernel (sdpa), by hand (math), or the faster")

    @model_validator(mode="after")
    def _shapes_fit(self) -> ModelConfig:
        if self.d_model % self.n_heads:
            unit = self.n_heads * (2 if self.position == "rope" else 1)  # rope turns pairs of channels
            fits = -(-self.d_model // unit) * unit
            raise ValueError(f"d_model={self.d_model} does not split into n_heads={self.n_heads}; d_model={fits} would")
        if self.n_heads % self.kv_heads:
            raise ValueError(
                f"n_heads={self.n_heads} cannot share n_kv_heads={self.kv_heads}; choose a divisor of {self.n_heads}"
            )
        if self.position == "rope" and self.head_width % 2:
            raise ValueError(
                f"position=rope turns pairs, but d_model={self.d_model} / n_heads={self.n_heads} is the odd width "
                f"{self.head_width}; choose an even one or position=learned"
            )
        return self

    @property
    def head_width(self) -> int:
        return self.d_model // self.n_heads

    @property
    def kv_heads(self) -> int:
        return self.n_kv_heads or self.n_heads

    @property
    def mlp_width(self) -> int:
        if self.d_ff is not None:
            return self.d_ff
        if self.mlp == "swiglu":  # three matrices instead of two: 8/3 keeps the parameter count of 4x
            return -(-8 * self.d_model // 3 // 32) * 32
        return 4 * self.d_model


class DataConfig(Piece):
    """the text"""

    data: tuple[Words, ...] = field(("tales",), "files, folders, globs, or names from `glassgpt data list`")
    text_column: str = field("text", "the column that holds the text, in data from the hub (hf:NAME)")
    fallback: tuple[str, ...] = field(
        (), "what to take instead, in this order, when the data is not to be had; --no-fallback refuses"
    )
    tokenizer: Words = field(
        "auto", "auto (bpe when vocab_size is given, else char), char, bpe, or a tokenizer.json (made if not there yet)"
    )
    unknown: Literal["error", "skip", "replace"] = field("error", "what to do with a character never seen in training")
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = field(0.1, "last part of the text, held out for validation")


class TrainingConfig(Piece):
    """the training"""

    batch_size: Size = field(8, "windows in one step, over all processes")
    seq_len: Size = field(256, "tokens in one window; at most max_seq_len")
    first_seq_len: Count | None = field(
        None, "a shorter window to begin with, of which each batch has more; left out, seq_len"
    )
    first_steps: Count | None = field(None, "steps with first_seq_len; left out, until the learning rate falls")
    grad_accum: Count = field(1, "micro-batches that a batch is split into, to save memory")
    learning_rate: Positive = field(1e-2, "peak learning rate (of AdamW; with muon, of what is no hidden matrix)")
    muon_learning_rate: Positive = field(0.02, "peak learning rate of the hidden matrices when optimizer is muon")
    muon_momentum: Annotated[float, Field(ge=0, lt=1)] = field(0.95, "muon's memory of gradients; less in short runs")
    min_lr_ratio: Share = field(0.0, "where the learning rate ends, as a share of the peak")
    schedule: Literal["cosine", "linear", "constant"] = field("linear", "how the learning rate falls after warmup")
    decay_fraction: Share = field(0.7, "last share of the steps over which it falls; before, it stays at the peak")
    max_steps: Count = field(960, "optimizer steps of the whole run")
    schedule_steps: Count | None = field(None, "steps that the schedule is made for; left out, max_steps")
    minutes: Annotated[float, Field(gt=0, le=10**6, allow_inf_nan=False)] | None = field(
        None, "how long the run may take: sizes, rates and steps that are not set are chosen to make the best of it"
    )
    warmup_steps: CountOrZero = field(0, "steps over which the learning rate rises from zero")
    weight_decay: NotNegative = field(0.0, "decay of matrices, never of biases and norms")
    beta1: Annotated[float, Field(ge=0, lt=1)] = field(0.9, "AdamW's memory of gradients")
    beta2: Annotated[float, Field(ge=0, lt=1)] = field(0.95, "AdamW's memory of squared gradients")
    optimizer: Literal["adamw", "muon"] = field("muon", "adamw for all, or muon for hidden matrices and adamw beside")
    on_divergence: Literal["stop", "back"] = field(
        "stop", "when a loss is no number: stop, or back to what was saved last and on at half the learning rate"
    )
    gradient_clip: NotNegative = field(1.0, "longest gradient, as a norm over all parameters; 0 for no limit")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = field("auto", "arithmetic; auto: what the device does well")
    compile: Literal["auto", "on", "off"] = field("auto", "torch.compile; auto takes it where it pays")
    gradient_checkpointing: bool = field(False, "compute activations twice to store fewer of them")
    threads: Annotated[int, Field(ge=0, le=1024)] = field(0, "CPU threads; 0 takes one for each core")
    seed: Seed = field(1, "of everything random in the run")
    eval_every: CountOrZero = field(320, "steps between evaluations; 0 for the end only")
    eval_batches: CountOrZero = field(8, "batches of the held-out text to evaluate on; 0 for all of it")
    save_every: CountOrZero = field(320, "steps between checkpoints; 0 for the end only")
    keep_every: CountOrZero = field(0, "steps between weights that are kept, each in a file of its own; 0 for none")
    log_every: Count = field(10, "steps between lines of the log")
    sample_every: CountOrZero = field(320, "steps between samples; 0 for the end only")
    sample_prompt: str = field("\n", "what the samples written while training begin with")

    @model_validator(mode="after")
    def _batch_splits(self) -> TrainingConfig:
        if self.seq_len % (self.first_seq_len or 1):
            raise ValueError(
                f"seq_len={self.seq_len} does not split into windows of first_seq_len={self.first_seq_len}; "
                f"choose a divisor"
            )
        if self.first_steps is not None and self.first_seq_len is None:
            raise ValueError(f"first_steps={self.first_steps} is for first_seq_len, which is not set; choose one")
        if self.batch_size % self.grad_accum:
            raise ValueError(
                f"batch_size={self.batch_size} does not split into grad_accum={self.grad_accum} equal micro-batches; "
                f"choose a divisor"
            )
        if self.warmup_steps > self.max_steps:
            raise ValueError(
                f"warmup_steps={self.warmup_steps} is longer than the run of max_steps={self.max_steps}; "
                f"choose more steps, or --warmup-steps {self.max_steps // 10}"
            )
        return self


class SamplingConfig(Piece):
    """the writing"""

    max_new_tokens: CountOrZero = field(500, "how many tokens to write")
    temperature: NotNegative = field(0.7, "below 1 safer, above 1 bolder; 0 always takes the likeliest token")
    top_k: CountOrZero = field(0, "draw among the k likeliest tokens only; 0 for all")
    top_p: Annotated[float, Field(gt=0, le=1)] = field(1.0, "draw among the likeliest tokens that together reach p")
    min_p: Share = field(0.1, "leave out tokens less likely than this share of the likeliest")
    repetition_penalty: Positive = field(1.0, "above 1, what was already written becomes less likely")
    stop: tuple[str, ...] = field((), "texts at which a sample ends (and which it does not show)")
    num_samples: Size = field(1, "how many samples to write, side by side")
    seed: Seed = field(1, "of the draws; the same seed writes the same text")
    weights: Weights = field("fp32", "the weights: fp32 as trained; bf16 and int8 write faster, and a bit worse")


class RunConfig(Piece):
    """One run, whole. Flat in YAML and flags; in code each part gets its own piece."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    out: Words | None = field(None, "the run's folder; left out, runs/ and the name of the data")
    publish: tuple[str, ...] = field(
        (), "further places for copies of the best checkpoint (NAME.safetensors, NAME.pt) and log (NAME.csv)"
    )
    tensorboard: bool = field(False, "also write the curves for TensorBoard, into the run's folder")
    wandb: bool = field(False, "also send the curves to Weights & Biases (WANDB_MODE=offline keeps them here)")
    wandb_project: str = field("glassgpt", "the project there")
    device: Words = field("auto", "auto, cpu, cuda, cuda:1, mps")

    @model_validator(mode="after")
    def _window_fits(self) -> RunConfig:
        if self.training.seq_len > self.model.max_seq_len:
            raise ValueError(
                f"seq_len={self.training.seq_len} is longer than max_seq_len={self.model.max_seq_len}; "
                f"lower the first or raise the second"
            )
        for place in self.publish:
            if not place.endswith(PUBLISHABLE):
                raise ValueError(f"publish={place!r}: a copy's name ends in {' or '.join(PUBLISHABLE)}")
        return self
