"""Writing: a stream of events, one for each token of each sample.

Samples are written side by side, but what is drawn for one depends on (seed, its index)
and its own text alone. `model.generate` is the same, slow and plain; a test holds the two together.
`reader.py` reads and `filters.py` shapes the odds; terminals, servers and tests all take this one stream.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from glassgpt.config import SamplingConfig
from glassgpt.errors import ConfigError, DataError, DivergenceError
from glassgpt.model.base import Predictor
from glassgpt.sampling.filters import draw, odds
from glassgpt.sampling.reader import Reader, Writer
from glassgpt.text.base import StreamDecoder, Tokenizer


@dataclass(frozen=True, kw_only=True)
class TokenEvent:
    """One token was written."""

    sample: int
    step: int
    token_id: int
    log_prob: float  # what the model itself gave it, before temperature and filters
    text: str = ""  # what may be shown now: behind the token while half a character or a possible stop is held back
    finished: Literal["length", "stop"] | None = None  # why this event is the sample's last


def write(
    model: Predictor | Writer,
    tokenizer: Tokenizer,
    prompt: str | Sequence[str],
    settings: SamplingConfig,
    *,
    context: int | None = None,
) -> Iterator[TokenEvent]:
    """From text to text: of one sample, all the `event.text` joined are what it wrote."""
    texts = [prompt] if isinstance(prompt, str) else prompt
    prompts = [tokenizer.encode(text) for text in texts]
    return generate(model, prompts, settings, tokenizer=tokenizer, context=context)


def generate(
    model: Predictor | Writer,
    prompts: Sequence[Sequence[int]],
    settings: SamplingConfig,
    *,
    tokenizer: Tokenizer | None = None,
    context: int | None = None,
) -> Iterator[TokenEvent]:
    """Write `settings.num_samples` samples for each prompt: samples 0, 1, ... belong to the first, and so on.

    Whoever writes more than once with a model hands over a `Writer` of it, which keeps what was made ready.
    Without a tokenizer the events have no text. `context` is how far the model may look, left out as far as it was
    trained to (`model.context`); of a longer prompt, the last half context is read.
    """
    writer = model if isinstance(model, Writer) else Writer(model)
    model, longest = writer.model, writer.model.config.max_seq_len
    context = model.context if context is None else context
    if not 1 <= context <= longest:
        raise ConfigError(f"context={context} must lie between 1 and the model's max_seq_len={longest}")
    refuse_unwritable(prompts, settings, tokenizer)
    chosen = [prompt for prompt in prompts for _ in range(settings.num_samples)]
    samples = [Sample(index, prompt, settings, model, tokenizer) for index, prompt in enumerate(chosen)]
    return _events(samples, Reader(writer, chosen, context=context, weights=settings.weights), settings)


def refuse_unwritable(prompts: Sequence[Sequence[int]], settings: SamplingConfig, tokenizer: Tokenizer | None) -> None:
    if not prompts or not all(prompts):
        raise DataError('the prompt is empty; give the model at least one character to go on from, such as "\\n"')
    if "" in settings.stop or (settings.stop and tokenizer is None):
        raise ConfigError(f"stop={settings.stop!r}: a stop is a text of at least one character, and needs a tokenizer")


def _events(samples: list[Sample], reader: Reader, settings: SamplingConfig) -> Iterator[TokenEvent]:
    for step in range(settings.max_new_tokens):
        if not reader.logits_BV.isfinite().all():
            raise DivergenceError("the model answers with nan or inf: its training diverged; use an earlier checkpoint")
        ids_B = drawn(reader.logits_BV, samples)
        log_probs_B = reader.logits_BV.log_softmax(dim=-1).gather(-1, ids_B.unsqueeze(1))[:, 0]
        taken = zip(samples, ids_B.tolist(), log_probs_B.tolist(), strict=True)
        events = [sample.take(step, token_id, log_prob) for sample, token_id, log_prob in taken]
        yield from events
        rows = [row for row, event in enumerate(events) if event.finished is None]
        if not rows:
            return
        samples = [samples[row] for row in rows]
        reader.go_on(rows, [events[row].token_id for row in rows])


def drawn(logits_BV: Tensor, samples: Sequence[Sample]) -> Tensor:
    """The next token of each sample, ids_B, with its own dice; samples of equal wishes are filtered together."""
    groups: dict[tuple[float, ...], list[int]] = {}
    for row, sample in enumerate(samples):
        groups.setdefault(sample.wishes, []).append(row)
    ids_B = torch.empty(len(samples), dtype=torch.long)
    for rows in groups.values():
        own = [samples[row] for row in rows]
        settings = own[0].settings
        seen_BV = None if settings.repetition_penalty == 1 else torch.stack([sample.seen_V for sample in own])
        own_BV = logits_BV if len(groups) == 1 else logits_BV[rows]
        ids_B[rows] = draw(odds(own_BV, seen_BV, settings), [sample.rng for sample in own])
    return ids_B


class Sample:
    """One text being written: its dice, the tokens it has seen, and its decoder."""

    def __init__(
        self, index: int, prompt: Sequence[int], settings: SamplingConfig, model: Predictor, tokenizer: Tokenizer | None
    ) -> None:
        self.index, self.settings = index, settings
        self.wishes = (
            settings.temperature, settings.top_k, settings.top_p, settings.min_p, settings.repetition_penalty
        )  # fmt: skip
        self.rng = torch.Generator().manual_seed(sample_seed(settings.seed, index))
        self.seen_V = torch.zeros(model.vocab_size, dtype=torch.bool)
        self.seen_V[list(prompt)] = True
        self.scribe = Scribe(tokenizer.stream(), settings.stop) if tokenizer else None
        self.end_id = tokenizer.end_id if tokenizer else None

    def take(self, step: int, token_id: int, log_prob: float) -> TokenEvent:
        self.seen_V[token_id] = True
        finished: Literal["length", "stop"] | None = "length" if step + 1 == self.settings.max_new_tokens else None
        finished = "stop" if token_id == self.end_id else finished  # the document is over; the token shows nothing
        text = ""
        if self.scribe is not None:
            text = self.scribe.push(token_id, last=finished is not None)
            finished = "stop" if self.scribe.stopped else finished
        return TokenEvent(
            sample=self.index, step=step, token_id=token_id, log_prob=log_prob, text=text, finished=finished
        )


class Scribe:
    """Tokens to text that may be shown: no half characters, no stop, not even the beginning of one."""

    def __init__(self, decoder: StreamDecoder, stops: Sequence[str]) -> None:
        self.decoder, self.stops = decoder, stops
        self.held = ""
        self.stopped = False

    def push(self, token_id: int, *, last: bool) -> str:
        """What may be shown after this token; with `last`, all that was held back."""
        self.held += self.decoder.push(token_id)
        if last:
            self.held += self.decoder.finish()
        found = [at for stop in self.stops if (at := self.held.find(stop)) >= 0]
        self.stopped = bool(found)
        safe = min(found) if found else len(self.held) if last else self._first_doubt()
        shown, self.held = self.held[:safe], self.held[safe:]
        return shown

    def _first_doubt(self) -> int:
        """Where a stop may have begun: the first place from which the rest is the beginning of one."""
        places = range(len(self.held))
        return next(
            (at for at in places if any(stop.startswith(self.held[at:]) for stop in self.stops)), len(self.held)
        )


def sample_seed(seed: int, index: int) -> int:
    """Dice of its own for each sample; neighbouring numbers would not do, seed 1 sample 2 is not seed 2 sample 1."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{index}/sample".encode(), digest_size=8).digest(), "big")
