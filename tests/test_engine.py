"""The engine: company changes nobody's text; whoever comes late or leaves early disturbs nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import stirred
from glassgpt.config import ModelConfig, SamplingConfig
from glassgpt.errors import BusyError, ConfigError, DataError, DivergenceError
from glassgpt.model.base import Predictor
from glassgpt.model.build import build
from glassgpt.sampling import slots as slots_module
from glassgpt.sampling.engine import Engine
from glassgpt.sampling.generate import generate
from glassgpt.sampling.reader import Writer
from glassgpt.sampling.requests import EngineEvent, Failed, PromptRead, Request, Written

V, CONTEXT = 23, 12
SIZES: dict[str, Any] = {"vocab_size": V, "d_model": 16, "n_layers": 2, "n_heads": 4, "max_seq_len": CONTEXT}
FORMS: dict[str, dict[str, Any]] = {
    "learned": {"position": "learned"},
    "rope": {"n_kv_heads": 2, "qk_norm": True, "norm": "rmsnorm", "mlp": "swiglu", "bias": False},
    "shifted": {"token_shift": 2, "mlp": "relu2"},
    "bigram": {"architecture": "bigram"},
}
every_form = pytest.mark.parametrize("form", FORMS)
Told = dict[tuple[int, int], list[tuple[int, float]]]  # of each ticket and sample, what was written


def model_of(form: str = "rope") -> Predictor:
    return stirred(build(ModelConfig(**(SIZES | FORMS[form]))), by=0.3).eval()


def wishes(**changes: Any) -> SamplingConfig:
    return SamplingConfig(**({"max_new_tokens": 20, "temperature": 1.0, "min_p": 0.0} | changes))


def every_step(*quick: int) -> list[Any]:
    """All of them when there is time; else some."""
    return [pytest.param(step, marks=() if step in quick else pytest.mark.slow) for step in range(40)]


def request(ticket: int, *prompts: Sequence[int], alternatives: int = 0, **changes: Any) -> Request:
    return Request(
        ticket=ticket, prompts=prompts or ([1, 2, 3],), settings=wishes(**changes), alternatives=alternatives
    )


# Different lengths and wishes; 17 tokens are more than the context.
REQUESTS = [
    request(0, [1, 2, 3], seed=5),
    request(1, list(range(17)), [4], seed=6, num_samples=2, top_k=5),
    request(2, [9] * 7, seed=7, max_new_tokens=31, repetition_penalty=1.3, temperature=0.6),
    request(3, [3, 1], seed=8, temperature=0, max_new_tokens=3),
    request(4, list(range(12)), seed=5, top_p=0.8, min_p=0.05),
]


def engine_of(model: Predictor, *, slots: int = 4, queue: int = 20) -> Engine:
    return Engine(Writer(model), None, slots=slots, queue=queue)


def alone(model: Predictor, asked: Request) -> Told:
    told: Told = {}
    for event in generate(model, asked.prompts, asked.settings):
        told.setdefault((asked.ticket, event.sample), []).append((event.token_id, event.log_prob))
    return told


def noted(told: Told, events: Sequence[EngineEvent]) -> None:
    for written in events:
        assert isinstance(written, Written)
        told.setdefault((written.ticket, written.event.sample), []).append(
            (written.event.token_id, written.event.log_prob)
        )


def run(engine: Engine, *, before_step: Callable[[int], object] = lambda _: None, steps: int = 1000) -> Told:
    """Everything that is told, step by step, until all is done."""
    told: Told = {}
    for step in range(steps):
        before_step(step)
        if not engine.has_work and step > 60:
            break
        noted(told, engine.step())
    assert engine.in_flight == 0
    return told


def assert_same(told: Told, expected: Told) -> None:
    for text, tokens in expected.items():
        assert [token for token, _ in told[text]] == [token for token, _ in tokens], text
        for (_, got), (_, wanted) in zip(told[text], tokens, strict=True):
            assert abs(got - wanted) < 1e-4


@every_form
def test_alone_the_engine_writes_what_generate_writes(form: str) -> None:
    model = model_of(form)
    for asked in REQUESTS:
        engine = engine_of(model)
        engine.submit(asked)
        assert_same(run(engine), alone(model, asked))


@every_form
@pytest.mark.parametrize("slots", [1, 3, 16])
def test_company_changes_no_text(form: str, slots: int) -> None:
    model = model_of(form)
    engine = engine_of(model, slots=slots)
    for asked in REQUESTS:
        engine.submit(asked)
    told = run(engine)
    for asked in REQUESTS:
        assert_same(told, alone(model, asked))


@pytest.mark.parametrize("step", every_step(0, 1, 4, 11, 20))
def test_who_joins_at_any_step_disturbs_nobody_and_is_not_disturbed(step: int) -> None:
    model = model_of()
    engine = engine_of(model)
    engine.submit(REQUESTS[2])

    def join(now: int) -> None:
        if now == step:
            engine.submit(REQUESTS[1])

    told = run(engine, before_step=join)
    assert_same(told, alone(model, REQUESTS[1]) | alone(model, REQUESTS[2]))


@pytest.mark.parametrize("step", every_step(0, 1, 5, 14))
def test_who_leaves_at_any_step_disturbs_nobody(step: int) -> None:
    model = model_of()
    engine = engine_of(model, slots=3)
    for asked in REQUESTS:
        engine.submit(asked)

    def leave(now: int) -> None:
        if now == step:
            engine.cancel(0)
            engine.cancel(1)

    told = run(engine, before_step=leave)
    for asked in REQUESTS[2:]:
        assert_same(told, alone(model, asked))


@settings(max_examples=6)
@given(
    st.lists(
        st.tuples(st.integers(0, 25), st.lists(st.integers(0, V - 1), min_size=1, max_size=20), st.integers(0, 25)),
        min_size=1,
        max_size=6,
    )
)
def test_whatever_comes_and_goes_every_text_is_its_own(visits: list[tuple[int, list[int], int]]) -> None:
    model = model_of("shifted")
    engine = engine_of(model, slots=2, queue=10)
    asked = [request(ticket, prompt, seed=ticket, max_new_tokens=9) for ticket, (_, prompt, _) in enumerate(visits)]

    def come_and_go(now: int) -> None:
        for ticket, (comes, _, stays) in enumerate(visits):
            if comes == now:
                engine.submit(asked[ticket])
            if comes + stays == now:
                engine.cancel(ticket)

    told = run(engine, before_step=come_and_go)
    for one in asked:
        for text, tokens in alone(model, one).items():
            got = [token for token, _ in told.get(text, [])]
            assert got == [token for token, _ in tokens][: len(got)]


def test_who_is_cancelled_costs_no_further_step_running_waiting_or_reading() -> None:
    engine = engine_of(model_of(), slots=2)
    for asked in (request(0), request(1), request(2)):
        engine.submit(asked)
    engine.step()
    assert (engine.active, engine.in_flight) == (2, 3)
    engine.cancel(2)  # it waits
    engine.cancel(0)  # it runs
    assert {event.ticket for event in engine.step()} == {1}
    assert engine.in_flight == 1
    steps = engine.slots.steps
    engine.cancel(1)
    assert engine.step() == []
    assert (engine.slots.steps, engine.in_flight, engine.has_work) == (steps, 0, False)
    engine.cancel(99)  # nobody's ticket
    assert engine.step() == []


def test_a_full_queue_refuses_at_once_and_takes_again_when_there_is_room() -> None:
    engine = engine_of(model_of(), slots=1, queue=2)
    for ticket in range(3):
        engine.submit(request(ticket, max_new_tokens=2))
    with pytest.raises(BusyError, match="3 texts are being written or wait, and 1 more do not fit into the 3 places"):
        engine.submit(request(3))
    while engine.in_flight == 3:
        engine.step()
    engine.submit(request(3))
    assert engine.in_flight == 3


def test_who_came_first_is_served_first() -> None:
    engine = engine_of(model_of(), slots=2)
    for ticket in range(6):
        engine.submit(request(ticket, max_new_tokens=4))
    order = []
    while engine.has_work:
        order += [event.ticket for event in engine.step()]
    assert list(dict.fromkeys(order)) == [0, 1, 2, 3, 4, 5]


def test_a_long_prompt_does_not_keep_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "READ_AT_ONCE", 2)  # a prompt of ten tokens takes five steps
    model = model_of()
    engine = engine_of(model)
    engine.submit(request(0, max_new_tokens=30))
    engine.step()
    engine.step()
    engine.submit(request(1, list(range(10)), max_new_tokens=5))
    engine.submit(request(2, [5], max_new_tokens=5))
    told: list[set[int]] = [{event.ticket for event in engine.step()} for _ in range(8)]
    assert all(0 in tickets for tickets in told[:4]), "it goes on at every step"
    assert next(step for step, tickets in enumerate(told) if 2 in tickets) <= 1, "the short one comes in between"
    assert next(step for step, tickets in enumerate(told) if 1 in tickets) >= 4


@every_form
def test_prompts_that_are_read_in_pieces_are_read_alike(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "READ_AT_ONCE", 3)
    model = model_of(form)
    engine = engine_of(model)
    for asked in REQUESTS:
        engine.submit(asked)
    told = run(engine)
    for asked in REQUESTS:
        assert_same(told, alone(model, asked))


def test_the_likeliest_are_told_beside_each_token_and_are_the_models_own() -> None:
    model = model_of()
    engine = engine_of(model)
    engine.submit(request(0, [1, 2, 3], alternatives=4, temperature=0, max_new_tokens=5))
    text = [1, 2, 3]
    for _ in range(5):
        (event,) = engine.step()
        assert isinstance(event, Written)
        with torch.no_grad():
            log_probs_V = model(torch.tensor([text]))[0][0, -1].log_softmax(dim=-1)
        assert [token for token, _ in event.alternatives] == log_probs_V.topk(4).indices.tolist()
        for token, log_prob in event.alternatives:
            assert abs(log_prob - float(log_probs_V[token])) < 1e-4
        text.append(event.event.token_id)


@pytest.mark.parametrize(("tokens", "piece"), [(9, 100), (9, 2), (17, 100)])
def test_the_scores_of_a_prompt_are_the_models_own(tokens: int, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "READ_AT_ONCE", piece)
    model, prompt = model_of(), [(7 * place) % V for place in range(tokens)]
    engine = engine_of(model)
    engine.submit(
        Request(ticket=0, prompts=[prompt], settings=wishes(max_new_tokens=0), alternatives=2, score_prompt=True)
    )
    events = [event for _ in range(10) for event in engine.step()]
    assert len(events) == 1
    read = events[0]
    assert isinstance(read, PromptRead)
    assert read.finished
    assert len(read.log_probs) == len(read.alternatives) == tokens
    unread = tokens - CONTEXT // 2 if tokens > CONTEXT else 0
    with torch.no_grad():
        log_probs_TV = model(torch.tensor([prompt[unread:]]))[0][0].log_softmax(dim=-1)
    assert read.log_probs[: unread + 1] == (None,) * (unread + 1)
    for place in range(1, tokens - unread):
        expected = float(log_probs_TV[place - 1, prompt[unread + place]])
        got = read.log_probs[unread + place]
        assert got is not None
        assert abs(got - expected) < 1e-4


def test_nothing_to_write_is_told_when_the_prompt_is_read() -> None:
    engine = engine_of(model_of())
    engine.submit(request(0, max_new_tokens=0, num_samples=2))
    events = engine.step()
    assert [(event.ticket, event.finished) for event in events if isinstance(event, PromptRead)] == [(0, True)] * 2
    assert engine.in_flight == 0


def test_what_cannot_be_written_is_refused_before_it_takes_a_place() -> None:
    engine = engine_of(model_of())
    with pytest.raises(DataError, match="the prompt is empty"):
        engine.submit(request(0, []))
    with pytest.raises(ConfigError, match="needs a tokenizer"):
        engine.submit(request(0, stop=("x",)))
    assert engine.in_flight == 0


def test_a_model_that_diverged_fails_its_requests_and_the_engine_stays() -> None:
    model = model_of()
    engine = engine_of(model, slots=1)
    for ticket in (4, 5):
        engine.submit(request(ticket))
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    failed = [event for _ in range(3) for event in engine.step() if isinstance(event, Failed)]
    assert [event.ticket for event in failed] == [4, 5]
    assert isinstance(failed[0].problem, DivergenceError)
    assert (engine.in_flight, engine.has_work) == (0, False)
