"""What a run chose by looking at its text and its machine: written into its configuration, not chosen again on resume.

Where the text comes from is told in `data/`; what is put together from all this, in `run.py`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from glassgpt.config import RunConfig
from glassgpt.data.prepare import Prepared, prepare
from glassgpt.data.prepare import Progress as Watcher
from glassgpt.data.sources import find_source
from glassgpt.device import Machine
from glassgpt.errors import ConfigError, TokenizerError
from glassgpt.runs import RUNS
from glassgpt.settings import Settings, assemble, flat


def folder_of(config: RunConfig) -> Path:
    """Where a run will lie, known before its text was read."""
    return Path(config.out) if config.out else RUNS / find_source(config.data.data).name


def digest_of(prepared: Prepared) -> str:
    """Of the ids themselves and the tokenizer that made them."""
    parts = (prepared.meta.train.sha256, prepared.meta.val.sha256, prepared.tokenizer.digest)
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def is_tales(prepared: Prepared) -> bool:
    return bool(prepared.source.tales_bytes) and not prepared.source.files


def prepare_data(config: RunConfig, say: Watcher | None) -> Prepared:
    prepared = prepare(config.data, min_tokens=config.training.seq_len + 1, progress=say)
    wanted = config.model.vocab_size
    if wanted not in {None, prepared.tokenizer.vocab_size}:
        raise ConfigError(
            f"vocab_size={wanted}, but the tokenizer of this text has {prepared.tokenizer.vocab_size} tokens; "
            f"leave vocab_size out"
        )
    return prepared


def resolve_measured(settings: Settings, machine: Machine, prepared: Prepared) -> RunConfig:
    """What was chosen by looking at the machine and the text is written down, and not chosen again on resume."""
    chosen = {
        "vocab_size": prepared.tokenizer.vocab_size,
        "out": str(folder_of(settings.config)),
        "device": str(machine.device),
        "precision": machine.precision,
        "threads": machine.threads,
        "compile": "on" if machine.compiled else "off",
        "sample_prompt": _sample_prompt(settings, prepared),
    }
    return assemble(flat(settings.config) | chosen)


def _sample_prompt(settings: Settings, prepared: Prepared) -> str:
    """A prompt with an unknown character is refused now, and not after hours at the first sample."""
    prompt = settings.config.training.sample_prompt
    try:
        prepared.tokenizer.encode(prompt)
    except TokenizerError:
        if "sample_prompt" in settings.origins:
            raise
        return prepared.tokenizer.decode(prepared.train_ids[:1].tolist())  # a text without line breaks
    return prompt
