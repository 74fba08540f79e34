"""Writing: what may be drawn, what is drawn, what is shown, and where it ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from conftest import stirred
from glassgpt.config import ModelConfig, SamplingConfig
from glassgpt.errors import ConfigError, DataError, DivergenceError
from glassgpt.model.decoder import Decoder
from glassgpt.model.gpt import GPT
from glassgpt.model.layers import choose
from glassgpt.sampling import filters
from glassgpt.sampling.generate import Scribe, TokenEvent, generate, sample_seed, write
from glassgpt.sampling.reader import Reader, Writer
from glassgpt.text.base import Ids, StreamDecoder, Tokenizer

V, CONTEXT = 23, 12
INF = math.inf

FORMS: dict[str, dict[str, Any]] = {
    "learned": {"position": "learned"},
    "rope": {"n_kv_heads": 2, "qk_norm": True, "norm": "rmsnorm", "mlp": "swiglu", "bias": False},
    "shifted": {"token_shift": 2, "mlp": "relu2"},
}
every_form = pytest.mark.parametrize("form", FORMS)


def model_of(form: str = "rope", **changes: Any) -> GPT:
    sizes = {"vocab_size": V, "d_model": 16, "n_layers": 2, "n_heads": 4, "max_seq_len": CONTEXT}
    return stirred(GPT(ModelConfig(**(sizes | FORMS[form] | changes)), seed=1), by=0.3).eval()


def by_sample(events: Sequence[TokenEvent]) -> dict[int, list[TokenEvent]]:
    samples: dict[int, list[TokenEvent]] = {}
    for event in events:
        samples.setdefault(event.sample, []).append(event)
    return samples


def ids_of(events: Sequence[TokenEvent]) -> dict[int, list[int]]:
    return {sample: [event.token_id for event in own] for sample, own in by_sample(events).items()}


# --- filters, by example --------------------------------------------------------------------------------------------


def row(*values: float) -> Tensor:
    return torch.tensor([values])


def kept(logits_BV: Tensor) -> list[int]:
    return [index for index, value in enumerate(logits_BV[0].tolist()) if value > -INF]


def test_top_k_by_hand() -> None:
    logits_BV = row(1.0, 3.0, 2.0, 2.0, 0.0)
    assert kept(filters.keep_top_k(logits_BV, 1)) == [1]
    assert kept(filters.keep_top_k(logits_BV, 2)) == [1, 2, 3]  # a tie for the last place: all of them stay
    assert kept(filters.keep_top_k(logits_BV, 4)) == [0, 1, 2, 3]
    for everything in (0, 5, 99):
        assert torch.equal(filters.keep_top_k(logits_BV, everything), logits_BV)


def test_top_p_by_hand() -> None:
    logits_BV = row(0.125, 0.5, 0.125, 0.25).log()
    assert kept(filters.keep_top_p(logits_BV, 0.4)) == [1]
    assert kept(filters.keep_top_p(logits_BV, 0.5)) == [1]  # reached exactly
    assert kept(filters.keep_top_p(logits_BV, 0.51)) == [1, 3]
    assert kept(filters.keep_top_p(logits_BV, 0.8)) == [0, 1, 3]  # of equals, the smaller id
    assert kept(filters.keep_top_p(logits_BV, 1e-9)) == [1]
    assert torch.equal(filters.keep_top_p(logits_BV, 1.0), logits_BV)


def test_min_p_by_hand() -> None:
    logits_BV = row(0.1, 0.5, 0.15, 0.25).log()
    assert kept(filters.keep_min_p(logits_BV, 0.29)) == [1, 2, 3]
    assert kept(filters.keep_min_p(logits_BV, 0.31)) == [1, 3]
    assert kept(filters.keep_min_p(logits_BV, 1.0)) == [1]
    assert torch.equal(filters.keep_min_p(logits_BV, 0.0), logits_BV)


def test_repetition_penalty_by_hand() -> None:
    logits_BV, seen_BV = row(2.0, -2.0, 2.0, -2.0), torch.tensor([[True, True, False, False]])
    assert filters.penalize_repetition(logits_BV, seen_BV, 4.0).tolist() == [[0.5, -8.0, 2.0, -2.0]]
    assert torch.equal(filters.penalize_repetition(logits_BV, seen_BV, 1.0), logits_BV)


def test_temperature_by_hand() -> None:
    logits_BV = row(0.0, math.log(3), math.log(3))
    assert filters.apply_temperature(logits_BV, 0.5).softmax(-1).tolist()[0] == pytest.approx([1 / 19, 9 / 19, 9 / 19])
    assert filters.apply_temperature(logits_BV, 0.0).softmax(-1).tolist() == [[0.0, 1.0, 0.0]]  # the first of equals
    assert filters.apply_temperature(logits_BV * 1e4, 1e-300).softmax(-1).tolist() == [[0.0, 0.5, 0.5]]


# --- filters, by property -------------------------------------------------------------------------------------------

logits = st.lists(st.lists(st.integers(-40, 40), min_size=5, max_size=5), min_size=1, max_size=3).map(
    lambda rows: torch.tensor(rows) / 8.0  # eighths, so that ties happen
)
quick = settings(max_examples=60, deadline=None)


@quick
@given(logits, st.integers(0, 7), st.floats(0.01, 1.0), st.floats(0, 1), st.floats(0, 3))
def test_odds_are_odds_and_the_likeliest_is_always_possible(
    logits_BV: Tensor, top_k: int, top_p: float, min_p: float, temperature: float
) -> None:
    config = SamplingConfig(top_k=top_k, top_p=top_p, min_p=min_p, temperature=temperature)
    probs_BV = filters.odds(logits_BV, torch.zeros_like(logits_BV, dtype=torch.bool), config)
    torch.testing.assert_close(probs_BV.sum(-1), torch.ones(len(probs_BV)))
    assert (probs_BV.gather(-1, logits_BV.argmax(-1, keepdim=True)) > 0).all()


@quick
@given(logits, st.integers(1, 7), st.floats(0.01, 0.99), st.floats(0.01, 1))
def test_a_filter_leaves_the_likely_and_changes_no_ratio(logits_BV: Tensor, k: int, p: float, min_p: float) -> None:
    for filtered_BV in (
        filters.keep_top_k(logits_BV, k),
        filters.keep_top_p(logits_BV, p),
        filters.keep_min_p(logits_BV, min_p),
    ):
        stays_BV = filtered_BV > -INF
        assert torch.equal(filtered_BV[stays_BV], logits_BV[stays_BV])
        least_kept = logits_BV.masked_fill(~stays_BV, INF).amin(-1)
        assert (least_kept >= logits_BV.masked_fill(stays_BV, -INF).amax(-1)).all()


@quick
@given(logits, st.floats(0.01, 0.99))
def test_top_p_keeps_enough_and_not_one_too_many(logits_BV: Tensor, p: float) -> None:
    for values_V, filtered_V in zip(logits_BV, filters.keep_top_p(logits_BV, p), strict=True):
        probs_V = values_V.softmax(-1)[filtered_V > -INF]
        assert probs_V.sum() > p - 1e-6
        assert probs_V.sum() - probs_V.min() < p + 1e-6


@quick
@given(logits, st.integers(1, 7), st.floats(0.1, 3.0), st.integers(0, 1000))
def test_the_slow_truth_chooses_as_the_filters_do(logits_BV: Tensor, k: int, temperature: float, seed: int) -> None:
    config = SamplingConfig(top_k=k, temperature=temperature, min_p=0)
    probs_BV = filters.odds(logits_BV, torch.zeros_like(logits_BV, dtype=torch.bool), config)
    drawn_B1 = torch.multinomial(probs_BV, 1, generator=torch.Generator().manual_seed(seed))
    rng = torch.Generator().manual_seed(seed)
    assert torch.equal(choose(logits_BV, temperature=temperature, top_k=k, rng=rng), drawn_B1)


# --- the stream -----------------------------------------------------------------------------------------------------


def slow_sample(
    model: GPT, prompt: list[int], config: SamplingConfig, rng: torch.Generator, *, context: int
) -> tuple[list[int], list[float]]:
    """One sample as plainly as can be: no cache, no batch, the whole window again for every token."""
    window, seen, written, log_probs = list(prompt), set(prompt), [], []
    for _ in range(config.max_new_tokens):
        if len(window) > context:
            window = window[-max(1, context // 2) :]
        with torch.no_grad():
            logits_BV = model(torch.tensor([window]))[0][:, -1]
        seen_BV = torch.tensor([[token in seen for token in range(V)]])
        token = int(torch.multinomial(filters.odds(logits_BV, seen_BV, config)[0], 1, generator=rng))
        log_probs.append(float(logits_BV.log_softmax(-1)[0, token]))
        written.append(token)
        window.append(token)
        seen.add(token)
    return written, log_probs


@every_form
@pytest.mark.parametrize("context", [1, 2, 5, 9, CONTEXT])
def test_the_stream_is_the_slow_truth_within_and_past_the_context(form: str, context: int) -> None:
    model = model_of(form)
    config = SamplingConfig(max_new_tokens=30, top_p=0.9, temperature=0.8, repetition_penalty=1.2, seed=5)
    prompts = [[3], [1, 2, 3, 4], list(range(10)), [7] * 20]  # the last is longer than any context
    events = by_sample(list(generate(model, prompts, config, context=context)))
    for index, prompt in enumerate(prompts):
        rng = torch.Generator().manual_seed(sample_seed(5, index))
        written, log_probs = slow_sample(model, prompt, config, rng, context=context)
        assert [event.token_id for event in events[index]] == written
        assert [event.log_prob for event in events[index]] == pytest.approx(log_probs, abs=1e-4)


@every_form
def test_greedy_writing_is_what_the_model_itself_generates(form: str) -> None:
    model = model_of(form)
    prompts = [[1, 2, 3], [4, 5, 6]]
    slow_BT = model.generate(torch.tensor(prompts), 40, temperature=0)
    fast = ids_of(list(generate(model, prompts, SamplingConfig(max_new_tokens=40, temperature=0))))
    assert [fast[0], fast[1]] == slow_BT[:, 3:].tolist()


def test_a_sample_does_not_depend_on_its_company() -> None:
    model, prompts = model_of(), [[1], [2, 3, 4, 5], [6, 7], [1]]
    together = ids_of(list(generate(model, prompts, SamplingConfig(max_new_tokens=25, seed=9))))
    for count in (1, 2, 3):
        fewer = ids_of(list(generate(model, prompts[:count], SamplingConfig(max_new_tokens=25, seed=9))))
        assert fewer == {index: together[index] for index in range(count)}
    assert together[0] != together[3]  # the same prompt and other dice


def test_seeds_and_samples_have_dice_of_their_own() -> None:
    model = model_of()

    def texts(seed: int) -> dict[int, list[int]]:
        return ids_of(list(generate(model, [[1, 2]], SamplingConfig(max_new_tokens=15, num_samples=3, seed=seed))))

    torch.manual_seed(1)
    first, dice = texts(1), torch.get_rng_state()
    torch.manual_seed(2)
    assert texts(1) == first
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), dice)  # the global dice were not thrown
    everything = [tuple(ids) for seed in (1, 2, 3) for ids in texts(seed).values()]
    assert len(set(everything)) == 9


def test_events_tell_their_place_and_the_last_one_says_why() -> None:
    events = list(generate(model_of(), [[1], [2]], SamplingConfig(max_new_tokens=3, num_samples=2)))
    assert [(event.step, event.sample) for event in events] == [(s, i) for s in range(3) for i in range(4)]
    assert [event.finished for event in events] == [None] * 8 + ["length"] * 4
    assert {event.text for event in events} == {""}
    assert list(generate(model_of(), [[1]], SamplingConfig(max_new_tokens=0))) == []


def test_tokens_are_drawn_as_often_as_the_model_believes() -> None:
    model, draws = model_of(), 4000
    events = list(
        generate(model, [[1, 2, 3]], SamplingConfig(max_new_tokens=1, num_samples=draws, temperature=1, min_p=0))
    )
    with torch.no_grad():
        probs_V = model(torch.tensor([[1, 2, 3]]))[0][0, -1].softmax(-1)
    counts_V = torch.bincount(torch.tensor([event.token_id for event in events]), minlength=V)
    chi_squared = float(((counts_V - draws * probs_V) ** 2 / (draws * probs_V)).sum())
    assert chi_squared < 60  # 22 degrees of freedom: above this in 2 of 100,000 worlds
    for event in events[:20]:
        assert event.log_prob == pytest.approx(float(probs_V[event.token_id].log()), abs=1e-4)


def test_the_log_probability_is_the_models_own_whatever_the_filters() -> None:
    model = model_of()
    plain, shaped = (
        next(iter(generate(model, [[1, 2, 3]], SamplingConfig(**form))))
        for form in ({"temperature": 0}, {"top_k": 1, "temperature": 5.0, "repetition_penalty": 1.5})
    )
    with torch.no_grad():
        log_probs_V = model(torch.tensor([[1, 2, 3]]))[0][0, -1].log_softmax(-1)
    for event in (plain, shaped):
        assert event.log_prob == pytest.approx(float(log_probs_V[event.token_id]), abs=1e-5)


def test_a_model_in_training_writes_without_dropout_and_trains_on() -> None:
    model = model_of(dropout=0.5)
    calm = ids_of(list(generate(model, [[1, 2]], SamplingConfig(max_new_tokens=20))))
    model.train()
    stream = generate(model, [[1, 2]], SamplingConfig(max_new_tokens=20))
    lively: list[TokenEvent] = []
    for event in stream:
        lively.append(event)
        assert model.training
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
    assert ids_of(lively) == calm
    model(torch.tensor([[1, 2]]), torch.tensor([[2, 3]]))[1].backward()  # nothing of inference is left in the model


@every_form
def test_every_token_is_read_once_and_a_full_context_once_more_by_half(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, lengths, step = model_of(form), [], Decoder.step

    def counted(*inputs: Any) -> Tensor:
        lengths.append(1)
        return step(*inputs)

    model.blocks[0].register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[1]))
    monkeypatch.setattr(Decoder, "step", counted)
    list(generate(model, [[1, 2, 3]], SamplingConfig(max_new_tokens=4)))
    assert lengths == [3, 1, 1, 1]
    lengths.clear()
    list(generate(model, [[1, 2, 3]], SamplingConfig(max_new_tokens=100)))
    assert sum(lengths) < 3 * 100  # the slow truth reads about 9 tokens for each


def test_texts_that_are_done_leave_the_batch() -> None:
    reader = Reader(Writer(model_of()), [[1], [2, 3], [4, 5, 6]], context=CONTEXT)
    alone = Reader(Writer(model_of()), [[4, 5, 6]], context=CONTEXT)
    torch.testing.assert_close(reader.logits_BV[2:], alone.logits_BV)
    reader.go_on([2], [7])
    alone.go_on([0], [7])
    assert reader.logits_BV.shape == (1, V)
    torch.testing.assert_close(reader.logits_BV, alone.logits_BV)
    assert reader.cache.lengths == (4,)


# --- text -----------------------------------------------------------------------------------------------------------

ALPHABET = [bytes([byte]) for byte in b"abcdefghijklmnopq "] + [b"\xc3", b"\xa9", b"ab", b"END", b"\n"]


class Pieces(Tokenizer):
    """23 tokens, among them the two halves of an e with an accent."""

    kind = "pieces"
    vocab_size = V

    def encode_array(self, text: str) -> Ids:
        return np.array([ALPHABET.index(character.encode()) for character in text], dtype=np.int64)

    def token_bytes(self, token_id: int) -> bytes:
        return ALPHABET[token_id]

    def to_json(self) -> str:
        return "{}"


def told(text_ids: list[int], *stops: str) -> tuple[list[str], bool]:
    scribe = Scribe(StreamDecoder(Pieces().token_bytes), stops)
    shown = []
    for place, token_id in enumerate(text_ids, start=1):
        shown.append(scribe.push(token_id, last=place == len(text_ids)))
        if scribe.stopped:
            break
    return shown, scribe.stopped


def test_what_may_be_the_beginning_of_a_stop_is_held_back_until_it_is_none() -> None:
    ids = Pieces().encode("abcabd q")
    assert told(ids, "abd") == (["", "", "abc", "", "", ""], True)
    assert told(ids, "abx") == (["", "", "abc", "", "", "abd", " ", "q"], False)
    assert told(Pieces().encode("aab"), "aaa") == (["", "", "aab"], False)
    assert told(Pieces().encode("aa"), "aaa") == (["", "aa"], False)  # the end came first
    assert told(Pieces().encode("abcd"), "cd", "bcd") == (["a", "", "", ""], True)  # the earliest beginning counts
    assert told([20, 21], "bE") == (["a", ""], True)  # inside of tokens


def test_half_a_character_waits_for_the_other_half() -> None:
    assert told([0, 18, 19, 1]) == (["a", "", "é", "b"], False)
    assert told([0, 18]) == (["a", "�"], False)
    assert told([0, 18, 19, 1], "é") == (["a", "", ""], True)


@quick
@given(st.lists(st.integers(0, V - 1), min_size=1, max_size=40), st.lists(st.text("abé E", min_size=1, max_size=3)))
def test_shown_text_is_the_decoded_text_up_to_the_first_stop(ids: list[int], stops: list[str]) -> None:
    shown, stopped = told(ids, *stops)
    read = Pieces().decode(ids[: len(shown)])
    at = min((found for stop in stops if (found := read.find(stop)) >= 0), default=None)
    assert stopped == (at is not None)
    assert "".join(shown) == read[:at]


def test_writing_from_text_to_text_stops_where_it_should() -> None:
    model, tokenizer = model_of(), Pieces()
    free = list(write(model, tokenizer, "abc", SamplingConfig(max_new_tokens=40, num_samples=6)))
    texts = {sample: "".join(e.text for e in own) for sample, own in by_sample(free).items()}
    assert texts == {sample: tokenizer.decode(ids) for sample, ids in ids_of(free).items()}
    stops = ("E", "b")
    held = by_sample(list(write(model, tokenizer, "abc", SamplingConfig(max_new_tokens=40, num_samples=6, stop=stops))))
    reasons = set()
    for sample, own in held.items():
        ends = [at for stop in stops if (at := texts[sample].find(stop)) >= 0]
        assert "".join(event.text for event in own) == texts[sample][: min(ends, default=None)]
        assert own[-1].finished == ("stop" if ends else "length")
        assert all(event.finished is None for event in own[:-1])
        reasons.add(len(own))
    assert len(reasons) > 1  # samples ended at different steps


def test_several_prompts_each_have_their_samples() -> None:
    config = SamplingConfig(max_new_tokens=5, num_samples=2, temperature=0)
    both = ids_of(list(write(model_of(), Pieces(), ["abc", "q"], config)))
    alone = ids_of(list(write(model_of(), Pieces(), "q", config)))
    assert both[0] == both[1] != both[2] == both[3] == alone[0]


# --- mistakes -------------------------------------------------------------------------------------------------------


def test_mistakes_are_told_in_a_line_and_most_before_a_token_is_asked_for() -> None:
    model, config = model_of(), SamplingConfig()
    for prompts in ([], [[1], []]):
        with pytest.raises(DataError, match="the prompt is empty; give the model at least one character"):
            generate(model, prompts, config)
    with pytest.raises(DataError, match="the prompt is empty"):
        write(model, Pieces(), "", config)
    for context in (0, CONTEXT + 1):
        with pytest.raises(ConfigError, match=f"context={context} must lie between 1 and the model's max_seq_len=12"):
            generate(model, [[1]], config, context=context)
    with pytest.raises(ConfigError, match="a stop is a text of at least one character, and needs a tokenizer"):
        generate(model, [[1]], SamplingConfig(stop=("x",)))
    model.final_norm.weight.data.fill_(math.nan)
    with pytest.raises(DivergenceError, match="its training diverged; use an earlier checkpoint"):
        list(generate(model, [[1]], config))
    with pytest.raises(ConfigError, match="at least one character"):
        write(model, Pieces(), "a", SamplingConfig(stop=("x", "")))
