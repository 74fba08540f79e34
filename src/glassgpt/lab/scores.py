"""How good a model is on a text, beside what simple methods reach on the same one: numbers only.

A loss alone says little. `xz` and n-grams (`baselines.py`) give it a measure below, and for tales the floor and the
stories for the exam (`exam.py`) one above. All is counted per character and per byte too: that compares across
tokenizers. `cli/eval.py` shows them, `evaluations.py` keeps them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glassgpt.config import RunConfig, SamplingConfig
from glassgpt.data import tales
from glassgpt.errors import DataError
from glassgpt.text.base import Tokenizer

if TYPE_CHECKING:
    from glassgpt.checkpoint import Checkpoint
    from glassgpt.device import Machine
    from glassgpt.model.base import Predictor

NGRAM_ORDER = 5
LONGEST_TALE = 1000  # tokens; no story is longer
EXAM = SamplingConfig(max_new_tokens=LONGEST_TALE, stop=(tales.SEPARATOR,))


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model that is measured, and what belongs to it."""

    checkpoint: Checkpoint
    config: RunConfig
    model: Predictor
    tokenizer: Tokenizer
    machine: Machine


@dataclass(frozen=True, kw_only=True)
class Score:
    """Who, and how many nats it pays for the whole text."""

    name: str
    nats: float
    characters: int
    size_bytes: int

    @property
    def nats_per_character(self) -> float:
        return self.nats / self.characters

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.size_bytes


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the model reached."""

    loss: float  # nats per token
    tokens: int
    score: Score


def measure(subject: Subject, text: str, *, are_tales: bool) -> Measured:
    from glassgpt.training.evaluate import evaluate, score_stories

    training, tokenizer = subject.config.training, subject.tokenizer
    if are_tales:
        stories = tales.apart(text)
        done = score_stories(subject.model, tokenizer, stories, context=training.seq_len,
                             batch_size=training.batch_size, machine=subject.machine)  # fmt: skip
        characters = size_bytes = len(text)
    else:
        ids = tokenizer.encode_array(text)
        if len(ids) < 2:
            raise DataError("the text has fewer than two known tokens, so there is nothing to predict; give more")
        done = evaluate(subject.model, ids, seq_len=training.seq_len, batch_size=training.batch_size,
                        machine=subject.machine)  # fmt: skip
        predicted = tokenizer.decode(ids[1:])  # the first token is given, not predicted
        characters, size_bytes = len(predicted), len(predicted.encode())
    name = f"this model (step {subject.checkpoint.step:,})"
    score = Score(name=name, nats=done.loss * done.tokens, characters=characters, size_bytes=size_bytes)
    return Measured(loss=done.loss, tokens=done.tokens, score=score)


def floor_of(text: str) -> Score:
    """Of tales: what no model can beat."""
    nats = tales.floor(tales.apart(text)) * len(text)
    return Score(name="the floor: no model can beat", nats=nats, characters=len(text), size_bytes=len(text))


def rivals_on(text: str, training_text: str) -> Iterator[Score]:
    """One after the other: `xz` takes its time."""
    from glassgpt.lab.baselines import ngram_loss, xz_bits_per_byte

    characters, size_bytes = len(text), len(text.encode())
    nats = ngram_loss(training_text, text, order=NGRAM_ORDER) * characters
    yield Score(name=f"order-{NGRAM_ORDER} n-grams", nats=nats, characters=characters, size_bytes=size_bytes)
    for name, before in (("xz, after the training text", training_text), ("xz, alone", "")):
        nats = xz_bits_per_byte(text, training_text=before) * size_bytes * math.log(2)
        yield Score(name=name, nats=nats, characters=characters, size_bytes=size_bytes)


def stories_by(subject: Subject, count: int) -> list[str]:
    """What the model writes for the exam."""
    from glassgpt.sampling.generate import write

    stories, wanted = [""] * count, EXAM.but(num_samples=count)
    with subject.machine.autocast():
        for event in write(subject.model, subject.tokenizer, tales.BEFORE, wanted,
                           context=subject.config.training.seq_len):  # fmt: skip
            stories[event.sample] += event.text
    return stories
