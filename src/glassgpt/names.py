"""Other people's names for our settings, in one table, so that whoever comes from elsewhere can type what they know.

`settings.canonical` applies it to files, flags and keyword arguments alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from glassgpt.errors import ConfigError

ALIASES: dict[str, str] = {
    "n_layer": "n_layers", "num_layers": "n_layers", "num_hidden_layers": "n_layers",
    "n_head": "n_heads", "num_heads": "n_heads", "num_attention_heads": "n_heads",
    "n_kv_head": "n_kv_heads", "num_key_value_heads": "n_kv_heads",
    "n_embd": "d_model", "hidden_size": "d_model", "width": "d_model",
    "n_inner": "d_ff", "intermediate_size": "d_ff",
    "activation": "mlp", "weight_tying": "tie_weights", "rope_theta": "rope_base",
    "max_iters": "max_steps", "iters": "max_steps", "steps": "max_steps",
    "warmup_iters": "warmup_steps", "lr_decay_iters": "schedule_steps",
    "eval_interval": "eval_every", "eval_iters": "eval_batches",
    "log_interval": "log_every", "save_interval": "save_every", "sample_interval": "sample_every",
    "keep_interval": "keep_every", "keep_period": "keep_every",
    "lr": "learning_rate", "min_lr": "min_lr_ratio", "lr_schedule": "schedule", "lr_scheduler": "schedule",
    "grad_clip": "gradient_clip", "max_grad_norm": "gradient_clip",
    "gradient_accumulation_steps": "grad_accum", "use_gradient_checkpointing": "gradient_checkpointing",
    "out_dir": "out", "output_dir": "out", "dataset": "data", "input": "data",
    "num_tokens": "max_new_tokens", "max_tokens": "max_new_tokens", "temp": "temperature",
}  # fmt: skip


def _true(value: Any) -> bool:
    text = str(value).lower()
    if text not in {"true", "false", "yes", "no", "on", "off", "1", "0"}:
        raise ConfigError(f"{value!r} is neither true nor false")
    return text in {"true", "yes", "on", "1"}


# A name may set several settings, or change the value on its way.
TRANSLATIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "block_size": lambda value: {"max_seq_len": value, "seq_len": value},
    "context_length": lambda value: {"max_seq_len": value, "seq_len": value},
    "use_rope": lambda value: {"position": "rope" if _true(value) else "learned"},
    "use_flash": lambda value: {"attention": "auto" if _true(value) else "math"},
    "use_mixed_precision": lambda value: {"precision": "auto" if _true(value) else "fp32"},
    "use_compile": lambda value: {"compile": "auto" if _true(value) else "off"},
    "dtype": lambda value: {
        "precision": {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}.get(str(value), value)
    },
}
PAIRS = ("epochs", "iters_per_epoch")  # two numbers of theirs make one of ours: max_steps
