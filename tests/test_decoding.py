"""The fast step of a GPT is the slow truth: for every form, with every packing of its matrices, for any rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from conftest import stirred
from glassgpt.config import ModelConfig, SamplingConfig, Weights
from glassgpt.model import product as products
from glassgpt.model.base import Predictor
from glassgpt.model.bigram import Bigram
from glassgpt.model.cache import Cache
from glassgpt.model.decoder import Decoder, answers
from glassgpt.model.gpt import GPT
from glassgpt.model.product import lighter, matrices, product, quantized, rounded
from glassgpt.sampling.filters import draw
from glassgpt.sampling.generate import generate
from glassgpt.sampling.price import price
from glassgpt.sampling.reader import Writer

V, CONTEXT = 23, 12
GPT2 = {"position": "learned", "norm": "layernorm", "mlp": "gelu", "bias": True, "qk_norm": False}
FORMS: dict[str, dict[str, Any]] = {
    "gpt2": GPT2,
    "gpt2 without biases, untied": GPT2 | {"bias": False, "tie_weights": False},
    "neox": GPT2 | {"position": "rope", "tie_weights": False},
    "neox with its exact gelu": GPT2 | {"position": "rope", "mlp": "gelu_exact"},
    "llama": {"qk_norm": False, "tie_weights": False, "n_kv_heads": 2},
    "qwen3": {"n_kv_heads": 1},
    "swiglu with biases": {"bias": True},
    "relu2, one step of shift": {"mlp": "relu2", "token_shift": 1},
    "gelu, three steps of shift": {"mlp": "gelu", "token_shift": 3, "n_kv_heads": 2, "norm": "layernorm"},
}
every_form = pytest.mark.parametrize("form", FORMS)
LIGHT: list[Weights] = ["bf16", "int8"]
ALL: list[Weights] = ["fp32", "bf16", "int8"]


def model_of(form: str, **changes: Any) -> GPT:
    sizes = {"vocab_size": V, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": CONTEXT}
    return stirred(GPT(ModelConfig(**(sizes | FORMS[form] | changes)), seed=1), by=0.1).eval()


def prompted(model: GPT, prompts: list[list[int]]) -> Cache:
    """A cache that holds prompts of any lengths."""
    lengths = [len(prompt) for prompt in prompts]
    cache = model.make_cache(len(prompts))
    model(torch.tensor([prompt + [0] * (max(lengths) - len(prompt)) for prompt in prompts]), cache=cache)
    cache.truncate(lengths)
    return cache


@torch.inference_mode()
def steps_apart(model: GPT, truth: Predictor, prompts: list[list[int]], weights: Weights) -> float:
    """The largest difference of any logit in four steps, against whole readings of the text."""
    cache, decoder = prompted(model, prompts), Decoder(model, rows=len(prompts), weights=weights)
    texts, worst = [list(prompt) for prompt in prompts], 0.0
    for step in range(4):
        new = [(5 * step + 3 * row) % V for row in range(len(texts))]
        logits_BV = decoder.step(torch.tensor(new), cache)
        for row, text in enumerate(texts):
            text.append(new[row])
            worst = max(worst, float((truth(torch.tensor([text]))[0][0, -1] - logits_BV[row]).abs().max()))
    return worst


@every_form
@pytest.mark.parametrize("prompts", [[[1, 2, 3]], [[1, 2], [3, 4], [5, 6]], [[1], [2, 3, 4, 5], [6, 7]]])
def test_a_step_answers_as_reading_the_whole_text_does(form: str, prompts: list[list[int]]) -> None:
    model = model_of(form)
    assert steps_apart(model, model, prompts, "fp32") < 1e-4


@every_form
@pytest.mark.parametrize("weights", LIGHT)
@pytest.mark.parametrize("rows", [1, 7])
def test_with_light_weights_it_answers_as_the_model_of_rounded_matrices(form: str, weights: Weights, rows: int) -> None:
    model = lighter(model_of(form), weights)
    prompts = [[1, 2, 3]] * rows
    assert steps_apart(model, model, prompts, "fp32") < 1e-4
    # Activations of 8 bits of mantissa lose one part in 512 at each of nine products; logits here reach 3.
    assert steps_apart(model, model, prompts, weights) < 0.1


def test_a_model_with_light_weights_differs_in_its_matrices_only() -> None:
    model = model_of("gpt2")
    light = lighter(model, "int8")
    touched = {id(matrix) for matrix in matrices(light)}
    for (name, before), after in zip(model.named_parameters(), light.parameters(), strict=True):
        assert torch.equal(before, after) != (id(after) in touched), name
    assert len(touched) == 1 + 2 * 4  # the tied table, and four in each block
    assert lighter(model, "fp32") is model


# --- products ---------------------------------------------------------------------------------------------------------


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("weights", ALL)
@pytest.mark.parametrize("rows", [1, 3, 16])
@torch.inference_mode()
def test_every_packing_multiplies_like_the_plain_one(
    rows: int, weights: Weights, packs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not packs:  # a processor, or a torch, that cannot
        monkeypatch.setattr(products, "_can_pack", lambda: False)
    weight_OI, bias_O, x_BI = numbers(48, 32), numbers(48, seed=1), numbers(rows, 32, seed=2)
    multiply = product(weight_OI, bias_O, weights=weights, rows=rows)
    truth_BO = F.linear(x_BI, rounded(weight_OI, weights), bias_O)
    near = 1e-4 if weights == "fp32" else 0.1  # bf16 activations: one part in 256 of products that add up to 20
    for _ in range(2):
        torch.testing.assert_close(multiply(x_BI), truth_BO, atol=near, rtol=0)


def test_rounding_keeps_each_number_to_half_a_level_and_rounding_twice_changes_nothing() -> None:
    weight_OI = numbers(50, 40) * torch.logspace(-3, 3, 50).unsqueeze(1)
    weight_OI[7] = 0
    levels_OI, scale_O1 = quantized(weight_OI)
    assert levels_OI.abs().max() == 127
    # Half a level, and up to half a level more where the scale's own rounding cut the largest.
    assert ((rounded(weight_OI, "int8") - weight_OI).abs() <= scale_O1).all()
    for weights in LIGHT:
        once_OI = rounded(weight_OI, weights)
        assert torch.equal(rounded(once_OI, weights), once_OI)


# --- drawing and keeping ----------------------------------------------------------------------------------------------


@torch.inference_mode()
def test_rows_drawn_together_are_what_multinomial_draws_one_by_one() -> None:
    probs_BV = (3 * numbers(40, 65)).softmax(dim=-1)
    probs_BV[:, 5:20] = 0
    dice = [[torch.Generator().manual_seed(seed) for seed in range(40)] for _ in range(2)]
    for _ in range(5):
        slow = [
            int(torch.multinomial(probs_V, 1, generator=rng)) for probs_V, rng in zip(probs_BV, dice[0], strict=True)
        ]
        assert draw(probs_BV, dice[1]).tolist() == slow


def written(model: Predictor | Writer, **wanted: Any) -> list[int]:
    return [event.token_id for event in generate(model, [[1, 2]], SamplingConfig(max_new_tokens=20, **wanted))]


def test_a_writer_keeps_what_it_packed_until_the_weights_change() -> None:
    model = model_of("qwen3")
    writer = Writer(model)
    for weights in ALL:
        assert written(writer, weights=weights) == written(model, weights=weights)
    kept = dict(writer._decoders)
    assert len(kept) == 3
    written(writer, weights="int8")
    assert writer._decoders == kept
    with torch.no_grad():
        dict(model.named_parameters())["blocks.0.attention.out.weight"].mul_(-3)
    for weights in ALL:
        assert written(writer, weights=weights) == written(model, weights=weights)
    assert not set(writer._decoders.values()) & set(kept.values())


def test_a_model_of_another_kind_writes_with_any_weights() -> None:
    model = Bigram(ModelConfig(architecture="bigram", vocab_size=V, max_seq_len=CONTEXT), seed=1)
    assert written(model, weights="int8") == written(model)


@pytest.mark.parametrize("weights", LIGHT)
def test_writing_with_light_weights_reports_the_log_probabilities_of_the_light_model(weights: Weights) -> None:
    model = model_of("qwen3", max_seq_len=32)
    events = list(generate(model, [[1, 2]], SamplingConfig(max_new_tokens=20, weights=weights)))
    ids = [1, 2] + [event.token_id for event in events]
    with torch.no_grad():
        log_probs_TV = lighter(model, weights)(torch.tensor([ids]))[0][0].log_softmax(dim=-1)
    for place, event in enumerate(events, start=1):
        assert event.log_prob == pytest.approx(float(log_probs_TV[place, event.token_id]), abs=0.1)


def test_the_price_of_exact_weights_is_nothing_and_that_of_light_ones_little() -> None:
    writer = Writer(model_of("qwen3", max_seq_len=32))
    free = price(writer, "fp32", [1, 2])
    assert free.light == pytest.approx(free.exact, abs=1e-5)
    assert free.tokens == 8 * 16
    for weights in LIGHT:
        paid = price(writer, weights, [1, 2])
        assert paid.exact == free.exact
        assert 0 < abs(paid.light - paid.exact) < 0.05


def test_a_processors_flag_is_no_reason_to_stop() -> None:
    """numpy warns of whatever its products touched; whether a text can go on is asked of the logits alone."""
    q_BHTK, k_BHSK = torch.full((1, 2, 1, 5), math.inf), torch.zeros(1, 2, 3, 5)
    with np.errstate(all="raise"):
        assert answers(q_BHTK, k_BHSK, k_BHSK, None).isnan().all()
