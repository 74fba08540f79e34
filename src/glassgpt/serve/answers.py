"""What goes out: the engine's events as OpenAI's choices, whole or piece by piece, and errors in OpenAI's form.

An `Account` turns each event into a piece of one choice. Streaming sends the pieces, and an answer in one go
joins the same ones, so that both say the same.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

from glassgpt.sampling.requests import EngineEvent, Odds, PromptRead, Written
from glassgpt.text.base import Tokenizer

LEAST = -9999.0  # JSON knows no infinity; OpenAI's own floor
Piece = dict[str, Any]


class Account:
    """One request, as it is told to its client."""

    def __init__(
        self,
        model: str,
        fingerprint: str,
        tokenizer: Tokenizer,
        prompts: Sequence[Sequence[int]],
        *,
        n: int,
        echo: bool,
        logprobs: bool,
        ids: bool = False,
    ) -> None:
        self.tokenizer, self.prompts, self.n = tokenizer, prompts, n
        self.echo, self.logprobs, self.ids = echo, logprobs, ids
        self.head = {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion", "created": int(time.time())}
        self.head |= {"model": model, "system_fingerprint": fingerprint}
        self.written = 0
        self._shown = [0] * (len(prompts) * n)  # characters, for the offsets

    def opening(self) -> list[Piece]:
        """What is said before anything is computed: the prompts, where an echo is wanted and no figures with it."""
        if not self.echo or self.logprobs:
            return []
        return [self._piece(sample, self._prompt(sample)) for sample in range(len(self._shown))]

    def piece(self, event: EngineEvent) -> Piece | None:
        """What an event adds to its choice; None, where there is nothing to show yet."""
        if isinstance(event, PromptRead):
            return self._of_prompt(event)
        if not isinstance(event, Written):
            return None
        self.written += 1
        told = event.event
        figures = None
        if self.logprobs:
            figures = self._figures(told.sample, [told.token_id], [told.log_prob], [event.alternatives])
        if not told.text and told.finished is None and figures is None:
            return None
        return self._piece(told.sample, told.text, figures, told.finished)

    def joined(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """The answer in one go."""
        choices = [self._piece(sample, "") for sample in range(len(self._shown))]
        for piece in pieces:
            choice = choices[piece["index"]]
            choice["text"] += piece["text"]
            choice["finish_reason"] = piece["finish_reason"] or choice["finish_reason"]
            if piece["logprobs"] is not None:
                whole = choice["logprobs"] or {name: [] for name in piece["logprobs"]}
                choice["logprobs"] = {name: values + piece["logprobs"][name] for name, values in whole.items()}
        return self.head | {"choices": choices, "usage": self.usage()}

    def chunk(self, piece: Piece) -> bytes:
        return sent(self.head | {"choices": [piece]})

    def last_chunk(self) -> bytes:
        """The usage, for those who asked for it."""
        return sent(self.head | {"choices": [], "usage": self.usage()})

    def usage(self) -> dict[str, int]:
        prompt = sum(map(len, self.prompts))
        return {"prompt_tokens": prompt, "completion_tokens": self.written, "total_tokens": prompt + self.written}

    def _of_prompt(self, event: PromptRead) -> Piece | None:
        finish = "length" if event.finished else None
        if not (self.echo and self.logprobs):
            return self._piece(event.sample, "", None, finish) if finish else None
        ids = self.prompts[event.sample // self.n]
        figures = self._figures(event.sample, ids, event.log_probs, event.alternatives)
        return self._piece(event.sample, self._prompt(event.sample), figures, finish)

    def _prompt(self, sample: int) -> str:
        return self.tokenizer.decode(self.prompts[sample // self.n])

    def _piece(self, sample: int, text: str, logprobs: Piece | None = None, finish: str | None = None) -> Piece:
        return {"text": text, "index": sample, "logprobs": logprobs, "finish_reason": finish}

    def _figures(
        self, sample: int, ids: Sequence[int], log_probs: Sequence[float | None], odds: Sequence[Odds]
    ) -> dict[str, list[Any]]:
        names = [name_of(self.tokenizer, token_id) for token_id in ids]
        offsets = []
        for name in names:
            offsets.append(self._shown[sample])
            self._shown[sample] += len(name)
        figures: dict[str, list[Any]] = {
            "tokens": names,
            "token_logprobs": [None if value is None else max(value, LEAST) for value in log_probs],
            "top_logprobs": [self._named(one) or None for one in odds],
            "text_offset": offsets,
        }
        if self.ids:  # two tokens may be called alike, and a text may be cut in other ways: ids say which it was
            figures |= {"token_ids": list(ids), "top_token_ids": [[token_id for token_id, _ in one] for one in odds]}
        return figures

    def _named(self, odds: Odds) -> dict[str, float]:
        return {name_of(self.tokenizer, token_id): max(log_prob, LEAST) for token_id, log_prob in odds}


def name_of(tokenizer: Tokenizer, token_id: int) -> str:
    r"""Its text; of a piece of a character `bytes:\xc3`, as OpenAI writes it."""
    if token_id >= tokenizer.vocab_size:  # a model may know more ids than its tokenizer: tables are padded
        return f"<{token_id}>"
    raw = tokenizer.token_bytes(token_id)
    try:
        return raw.decode("utf-8") or tokenizer.name_of(token_id)
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def sent(content: Piece) -> bytes:
    """One server-sent event."""
    return b"data: " + dumped(content) + b"\n\n"


def dumped(content: Piece) -> bytes:
    """In ASCII: whatever half of a character somebody sent, an answer can be written."""
    return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def error_body(message: str, *, code: str | None, kind: str, param: str | None = None) -> Piece:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
