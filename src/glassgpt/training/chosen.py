"""What a run chose by looking at its text and its machine: written into its configuration, not chosen again on resume.

Where the text comes from is told in `data/`; what is put together from all this, in `run.py`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from glassgpt.config import DataConfig, RunConfig
from glassgpt.data import tales
from glassgpt.data.prepare import Prepared, prepare
from glassgpt.data.prepare import Progress as Watcher
from glassgpt.data.source import Source
from glassgpt.data.sources import find_source
from glassgpt.device import Machine
from glassgpt.errors import ConfigError, TokenizerError
from glassgpt.runs import RUNS
from glassgpt.settings import Settings, assemble, flat
from glassgpt.training.evaluate import HeldOut, HeldOutTales, HeldOutText
from glassgpt.training.parallel import Team


def settle(settings: Settings, say: Watcher | None = None) -> tuple[Settings, list[str]]:
    """The settings with the text that is really to be had, chosen once; and what a person should hear of it."""
    source = _source_of(settings.config.data, say)
    notes = [source.note] if source.note else []
    if source.specs == settings.config.data.data:
        return settings, notes
    config = assemble(flat(settings.config) | {"data": list(source.specs), "fallback": []})
    instead = f"instead of {' '.join(settings.config.data.data)}"
    return Settings(config, dict(settings.origins) | {"data": instead, "fallback": instead}), notes


def folder_of(config: RunConfig) -> Path:
    """Where a run will lie, known before its text was read."""
    return Path(config.out) if config.out else RUNS / _source_of(config.data).name


def _source_of(data: DataConfig, say: Watcher | None = None) -> Source:
    return find_source(
        data.data,
        val_fraction=data.val_fraction,
        fallback=data.fallback,
        text_column=data.text_column,
        progress=say,
    )


def digest_of(prepared: Prepared) -> str:
    """Of the ids themselves and the tokenizer that made them."""
    parts = (prepared.meta.train.sha256, prepared.meta.val.sha256, prepared.tokenizer.digest)
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def is_tales(prepared: Prepared) -> bool:
    return bool(prepared.source.tales_bytes) and not prepared.source.files


def prepare_data(config: RunConfig, say: Watcher | None) -> Prepared:
    """The text as ids. Of characters, `vocab_size` is the most there may be; of BPE, how many tokens there are."""
    wanted = config.model.vocab_size
    prepared = prepare(config.data, vocab_size=wanted, min_tokens=config.training.seq_len + 1, progress=say)
    have = prepared.tokenizer.vocab_size
    if wanted is not None and (have > wanted or (have != wanted and prepared.tokenizer.kind != "char")):
        raise ConfigError(
            f"vocab_size={wanted}, but the tokenizer of this text has {have} tokens; leave it out, or take that"
        )
    return prepared


def resolve_measured(settings: Settings, machine: Machine, prepared: Prepared) -> RunConfig:
    """What was chosen by looking at the machine and the text is written down, and not chosen again on resume."""
    source, asked = prepared.source, settings.config.data
    chosen = {
        "data": list(source.specs),
        "fallback": [],  # a resumed run reads this text or none
        "vocab_size": prepared.tokenizer.vocab_size,
        "tokenizer": prepared.tokenizer.kind if asked.tokenizer == "auto" else asked.tokenizer,
        "out": settings.config.out or str(RUNS / source.name),
        "device": str(machine.device),
        "precision": machine.precision,
        "threads": machine.threads,
        "compile": "on" if machine.compiled else "off",
        "sample_prompt": _sample_prompt(settings, prepared),
    }
    return assemble(flat(settings.config) | chosen)


def held_out_of(config: RunConfig, machine: Machine, prepared: Prepared, team: Team) -> HeldOut:
    training = config.training
    if not is_tales(prepared):
        return HeldOutText(
            ids=prepared.val_ids, seq_len=training.seq_len, batch_size=training.batch_size, machine=machine,
            most_batches=training.eval_batches, team=team,
        )  # fmt: skip
    stories = tales.apart(prepared.tokenizer.decode(prepared.val_ids.tolist()))
    if training.eval_batches:
        stories = stories[: training.eval_batches * training.batch_size]
    return HeldOutTales(
        stories=stories, tokenizer=prepared.tokenizer, context=training.seq_len, batch_size=training.batch_size,
        machine=machine, floor=tales.floor(stories), team=team,
    )  # fmt: skip


def _sample_prompt(settings: Settings, prepared: Prepared) -> str:
    """A prompt with an unknown character is refused now, and not after hours at the first sample.

    One that belongs to a preset, or to a text that gave way to another, gives way too.
    """
    prompt = settings.config.training.sample_prompt
    origin, data_origin = (settings.origins.get(name, "preset") for name in ("sample_prompt", "data"))
    gave_way = data_origin.startswith("instead of") or prepared.source.specs != settings.config.data.data
    for candidate in (prompt, "\n"):
        try:
            prepared.tokenizer.encode(candidate)
        except TokenizerError:
            if origin == "flag" or not (origin.startswith("preset") or gave_way):
                raise
            continue
        return candidate
    return prepared.tokenizer.decode(prepared.train_ids[:1].tolist())  # a text without line breaks
