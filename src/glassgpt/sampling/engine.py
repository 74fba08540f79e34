"""Many requests, one model: whoever comes joins those who are being served, between two steps.

`submit` and `cancel` may be called from any thread; one thread takes the steps, and each gives events. What a request
is told depends on its prompt, its settings and its seed alone, never on its company: `generate.py` alone gives the
same tokens, from the same parts. `slots.py` computes; servers and tests take the events.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import torch
from torch import Tensor

from glassgpt.config import Weights
from glassgpt.errors import BusyError, DivergenceError, GlassgptError
from glassgpt.sampling.generate import Sample, drawn, refuse_unwritable
from glassgpt.sampling.reader import Writer
from glassgpt.sampling.requests import EngineEvent, Failed, PromptRead, Request, Written, likeliest, scores
from glassgpt.sampling.slots import Row, Slots
from glassgpt.text.base import Tokenizer


@dataclass(eq=False)
class Text:
    """One sample of a request: in the queue as long as it has no row."""

    request: Request
    prompt: Sequence[int]
    sample: Sample
    row: Row | None = None
    written: int = 0


class Engine:
    def __init__(
        self, writer: Writer, tokenizer: Tokenizer | None, *, slots: int, queue: int, weights: Weights = "fp32"
    ) -> None:
        """`slots` texts are written at once, and `queue` more may wait."""
        self.tokenizer = tokenizer
        self.slots = Slots(writer, size=slots, context=writer.model.context, weights=weights)
        self.room = slots + queue
        self.in_flight = 0  # texts that were accepted and have not ended
        self._waiting: deque[Text] = deque()
        self._active: list[Text] = []
        self._inbox: SimpleQueue[Request | int] = SimpleQueue()  # an int is the ticket of one who has gone
        self._lock = threading.Lock()

    @property
    def active(self) -> int:
        return len(self._active)

    @property
    def has_work(self) -> bool:
        return bool(self._active or self._waiting) or not self._inbox.empty()

    def submit(self, request: Request) -> None:
        """Accepted, or refused at once: an empty prompt or stop, or no room."""
        refuse_unwritable(request.prompts, request.settings, self.tokenizer)
        with self._lock:
            if self.in_flight + request.texts > self.room:
                raise BusyError(
                    f"{self.in_flight} texts are being written or wait, and {request.texts} more do not fit into the "
                    f"{self.room} places; come back in a moment"
                )
            self.in_flight += request.texts
        self._inbox.put(request)

    def cancel(self, ticket: int) -> None:
        """Before the next step all texts of this request have gone."""
        self._inbox.put(ticket)

    def step(self) -> list[EngineEvent]:
        """Let come and go who wants to, then one token for each text whose prompt is read."""
        self._take_in()
        while self._waiting and self.slots.free:
            self._seat(self._waiting.popleft())
        if not self._active:
            return []
        self.slots.advance()
        return self._tell([text for text in self._active if text.row is not None and text.row.logits_V is not None])

    def abort(self, problem: GlassgptError) -> list[EngineEvent]:
        """After a step that went wrong: everybody is told, and the engine is empty again."""
        self._take_in()
        tickets = {text.request.ticket for text in (*self._active, *self._waiting)}
        for ticket in tickets:
            self._dismiss(ticket)
        return [Failed(ticket=ticket, problem=problem) for ticket in sorted(tickets)]

    def _take_in(self) -> None:
        while True:
            try:
                letter = self._inbox.get_nowait()
            except Empty:
                return
            if isinstance(letter, int):
                self._dismiss(letter)
            else:
                self._waiting.extend(self._texts_of(letter))

    def _texts_of(self, request: Request) -> list[Text]:
        chosen = [prompt for prompt in request.prompts for _ in range(request.settings.num_samples)]
        model = self.slots.writer.model
        return [
            Text(request, prompt, Sample(index, prompt, request.settings, model, self.tokenizer))
            for index, prompt in enumerate(chosen)
        ]

    def _dismiss(self, ticket: int) -> None:
        for text in [text for text in self._active if text.request.ticket == ticket]:
            self._end(text)
        staying = [text for text in self._waiting if text.request.ticket != ticket]
        with self._lock:
            self.in_flight -= len(self._waiting) - len(staying)
        self._waiting = deque(staying)

    def _seat(self, text: Text) -> None:
        text.row = self.slots.join(text.prompt, score=text.request.score_prompt)
        self._active.append(text)

    def _end(self, text: Text) -> None:
        assert text.row is not None
        self.slots.leave(text.row)
        self._active.remove(text)
        with self._lock:
            self.in_flight -= 1

    def _tell(self, texts: list[Text]) -> list[EngineEvent]:
        events: list[EngineEvent] = []
        for text in [text for text in texts if not text.written]:
            events += self._about_prompt(text)
        texts = [text for text in texts if text in self._active]
        if not texts:
            return events
        logits_BV = torch.stack([row.logits_V for text in texts if (row := text.row) and row.logits_V is not None])
        sound_B = logits_BV.isfinite().all(dim=-1)
        if not sound_B.all():
            return events + self.abort(
                DivergenceError("the model answers with nan or inf: its training diverged; use an earlier checkpoint")
            )
        return events + self._draw(texts, logits_BV)

    def _draw(self, texts: list[Text], logits_BV: Tensor) -> list[EngineEvent]:
        events: list[EngineEvent] = []
        ids_B = drawn(logits_BV, [text.sample for text in texts])
        log_probs_BV = logits_BV.log_softmax(dim=-1)
        log_probs_B = log_probs_BV.gather(-1, ids_B.unsqueeze(1))[:, 0]
        for place, (text, token_id) in enumerate(zip(texts, ids_B.tolist(), strict=True)):
            event = text.sample.take(text.written, token_id, float(log_probs_B[place]))
            odds = likeliest(log_probs_BV[place], text.request.alternatives)
            events.append(Written(ticket=text.request.ticket, event=event, alternatives=odds))
            text.written += 1
            if event.finished is not None:
                self._end(text)
            else:
                assert text.row is not None
                self.slots.append(text.row, token_id)
        return events

    def _about_prompt(self, text: Text) -> list[EngineEvent]:
        """Told once, before the first token, to those who asked for it or for nothing else."""
        request, row = text.request, text.row
        finished = request.settings.max_new_tokens == 0
        if finished:
            self._end(text)
        if row is None or not (request.score_prompt or finished):
            return []
        log_probs, odds = scores(row.scores_NV, text.prompt, request.alternatives) if request.score_prompt else ((), ())
        row.scores_NV, row.score = [], False
        index = text.sample.index
        return [
            PromptRead(ticket=request.ticket, sample=index, log_probs=log_probs, alternatives=odds, finished=finished)
        ]
