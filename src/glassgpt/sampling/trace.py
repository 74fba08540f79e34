"""Reading a text with the model open: the same run, remembering what happened inside.

The model computes as always and knows nothing of this: hooks note what passes through its blocks, and its own parts
are asked again for what they do not give away. How a head shares out its attention is what `attend`, the readable
truth, answers when each token's value is a vector of its own. `embeddings.py` draws the map of the tokens.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from glassgpt.errors import DataError, DivergenceError
from glassgpt.model.attention import Attention, attend
from glassgpt.model.base import Predictor
from glassgpt.model.gpt import GPT, Block
from glassgpt.model.rope import Rotation
from glassgpt.sampling.embeddings import EmbeddingMap, embedding_map, points_of
from glassgpt.sampling.reader import inference
from glassgpt.text.base import Tokenizer

Numbers = npt.NDArray[np.float32]
DIGITS = 5  # in JSON: a row of 512 weights then still sums to 1 within 0.003, and a page stays small


@dataclass(frozen=True)
class Guess:
    """A token that might come, and what the model gives it."""

    token_id: int
    name: str
    probability: float


@dataclass(frozen=True)
class Told:
    """One token of the text, and how the model that had read those before it took it; it has no say in the first."""

    token_id: int
    name: str
    probability: float | None = None
    bits: float | None = None  # its surprise: 1 for a coin, 8 for one byte of noise
    rank: int | None = None  # 1: nothing was likelier
    expected: tuple[Guess, ...] = ()  # what was likeliest here instead


@dataclass(frozen=True, eq=False, kw_only=True)
class Trace:
    """All that can be seen of one reading. Layers, heads and positions count from 0 here."""

    tokens: tuple[Told, ...]
    upcoming: tuple[Guess, ...]  # what the model expects behind the text
    tokens_left_out: int  # before the window that the model can look at
    attention: tuple[Numbers, ...] = ()  # for each layer, by head, query and key
    lens: tuple[tuple[Guess, ...], ...] = ()  # behind the embedding and each layer: what it would say to come next
    norms: tuple[tuple[float, ...], ...] = ()  # behind the embedding and each layer: how long each token's vector is
    embeddings: EmbeddingMap

    @property
    def mean_bits(self) -> float | None:
        """The surprise of a token on average; what training lowers, in bits."""
        bits = [token.bits for token in self.tokens if token.bits is not None]
        return sum(bits) / len(bits) if bits else None

    def as_json(self, *, attention: bool = True) -> dict[str, Any]:
        """Plain tables and numbers; of each row of attention, what the token may see."""
        maps = self.attention if attention else ()
        return {
            "tokens": [_plain(token) for token in self.tokens],
            "upcoming": [_plain(guess) for guess in self.upcoming],
            "tokens_left_out": self.tokens_left_out,
            "mean_bits": _rounded(self.mean_bits),
            "attention": [[_visible(weights_TS) for weights_TS in weights_HTS] for weights_HTS in maps],
            "lens": [[_plain(guess) for guess in row] for row in self.lens],
            "norms": [[_rounded(norm) for norm in row] for row in self.norms],
            "embeddings": self.embeddings.as_json(),
        }


def trace(
    model: Predictor, tokenizer: Tokenizer, text: str, *, alternatives: int = 5, most_tokens: int | None = None
) -> Trace:
    """Read a text, or as much of its end as the model can look at; the model is left as it was."""
    ids = tokenizer.encode(text)
    if not ids:
        raise DataError('the text is empty, so there is nothing to look at; give at least one character, such as "T"')
    window = ids[-min(model.context, most_tokens or model.context) :]
    with inference(model), remembering(model) as inside:
        device = next(model.parameters()).device
        logits_BTV, _ = model(torch.tensor([window], device=device))
        if not logits_BTV.isfinite().all():
            raise DivergenceError("the model answers with nan or inf: its training diverged; use an earlier checkpoint")
        tokens, upcoming = _told(window, logits_BTV[0].float().cpu(), tokenizer, alternatives)
        return Trace(
            tokens=tokens,
            upcoming=upcoming,
            tokens_left_out=len(ids) - len(window),
            attention=tuple(weights_BHTS[0].float().cpu().numpy() for weights_BHTS in inside.weights),
            lens=tuple(_lens_row(model, x_BTD, tokenizer) for x_BTD in inside.stream),
            norms=tuple(tuple(x_BTD[0].float().norm(dim=-1).tolist()) for x_BTD in inside.stream),
            embeddings=embedding_map(model, tokenizer, chosen=points_of(window, model.vocab_size)),
        )


@dataclass(frozen=True)
class Inside:
    """What was noted of one pass: of other models than a GPT, nothing."""

    stream: list[Tensor] = field(default_factory=list)  # x_BTD behind the embedding, and behind each block
    weights: list[Tensor] = field(default_factory=list)  # weights_BHTS of each block


@contextmanager
def remembering(model: Predictor) -> Iterator[Inside]:
    """While this is open, a pass of the model over whole texts (without a cache) leaves behind what happened in it.

    Only passes of this thread do: a server may let the same model write for others meanwhile.
    """
    inside, mine = Inside(), threading.get_ident()

    def note(x_BTD: Tensor) -> None:
        if threading.get_ident() == mine:
            inside.stream.append(x_BTD)

    def note_attention(attention: nn.Module, given: tuple[Tensor, Rotation | None]) -> None:
        assert isinstance(attention, Attention)
        if threading.get_ident() == mine:
            inside.weights.append(weights_of(attention, *given[:2]))

    hooks: list[RemovableHandle] = []
    for block in model.blocks if isinstance(model, GPT) else ():
        assert isinstance(block, Block)
        if not hooks:
            hooks.append(block.register_forward_pre_hook(lambda _, given: note(given[0])))
        hooks.append(block.attention.register_forward_pre_hook(note_attention))
        hooks.append(block.register_forward_hook(lambda _, __, x_BTD: note(x_BTD)))
    try:
        yield inside
    finally:
        for hook in hooks:
            hook.remove()


def weights_of(attention: Attention, x_BTD: Tensor, rotation: Rotation | None) -> Tensor:
    """weights_BHTS, how each head of a layer shares out its attention: what it takes of values that are all different.

    Row s of the values is 1 at s and 0 elsewhere, so an answer is the list of the weights themselves.
    """
    q_BHTK, k_BHSK, _ = attention.project(x_BTD, rotation)
    T = x_BTD.shape[1]
    one_each_BHSS = torch.eye(T, dtype=q_BHTK.dtype, device=q_BHTK.device).expand(*q_BHTK.shape[:2], T, T)
    visible_TS = torch.ones(T, T, dtype=torch.bool, device=q_BHTK.device).tril()
    return attend(q_BHTK, attention.share(k_BHSK), one_each_BHSS, visible_TS)


def _told(
    window: Sequence[int], logits_TV: Tensor, tokenizer: Tokenizer, alternatives: int
) -> tuple[tuple[Told, ...], tuple[Guess, ...]]:
    """Each token as the position before it saw it come, and what is expected behind the last."""
    log_probs_TV = logits_TV.log_softmax(dim=-1)
    best_TN = log_probs_TV.topk(min(alternatives, logits_TV.shape[1]), dim=-1)
    guesses = [
        tuple(_guess(tokenizer, token_id, log_prob) for token_id, log_prob in zip(ids, log_probs, strict=True))
        for ids, log_probs in zip(best_TN.indices.tolist(), best_TN.values.tolist(), strict=True)
    ]
    tokens = [Told(window[0], tokenizer.name_of(window[0]))]
    for before, token_id in enumerate(window[1:]):
        log_probs_V = log_probs_TV[before]
        log_prob = float(log_probs_V[token_id])
        tokens.append(
            Told(
                token_id,
                tokenizer.name_of(token_id),
                probability=math.exp(log_prob),
                bits=-log_prob / math.log(2),
                rank=1 + int((log_probs_V > log_prob).sum()),
                expected=guesses[before],
            )
        )
    return tuple(tokens), guesses[-1]


def _lens_row(model: Predictor, x_BTD: Tensor, tokenizer: Tokenizer) -> tuple[Guess, ...]:
    """What the model would say at each position if its blocks ended here: its own last steps, taken early."""
    assert isinstance(model, GPT)
    log_probs_TV = model.predict(model.final_norm(x_BTD))[0].float().log_softmax(dim=-1)
    best_T = log_probs_TV.max(dim=-1)
    pairs = zip(best_T.indices.tolist(), best_T.values.tolist(), strict=True)
    return tuple(_guess(tokenizer, token_id, log_prob) for token_id, log_prob in pairs)


def _guess(tokenizer: Tokenizer, token_id: int, log_prob: float) -> Guess:
    """A model may know more ids than its tokenizer: tables are padded to round sizes."""
    name = tokenizer.name_of(token_id) if token_id < tokenizer.vocab_size else f"<{token_id}>"
    return Guess(token_id, name, math.exp(log_prob))


def _visible(weights_TS: Numbers) -> list[list[float]]:
    return [np.round(row[: place + 1].astype(float), DIGITS).tolist() for place, row in enumerate(weights_TS)]


def _plain(what: Told | Guess) -> dict[str, Any]:
    """The fields that say something, by name."""
    values = {name: getattr(what, name) for name in what.__dataclass_fields__}
    if isinstance(what, Told):
        values["expected"] = [_plain(guess) for guess in what.expected]
    return {name: _rounded(value) if isinstance(value, float) else value for name, value in values.items()}


def _rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.{DIGITS}g}")
