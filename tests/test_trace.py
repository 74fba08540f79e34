"""What a trace shows is what the model computes: its own prediction, its own attention, its own residual stream."""

from __future__ import annotations

import dataclasses
import json
import math
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conftest import stirred
from glassgpt.config import ModelConfig
from glassgpt.errors import DataError, DivergenceError
from glassgpt.model.attention import Attention
from glassgpt.model.base import Predictor
from glassgpt.model.bigram import Bigram
from glassgpt.model.gpt import GPT, Block
from glassgpt.sampling.embeddings import MOST_POINTS, embedding_map, nearest, plane, points_of
from glassgpt.sampling.trace import Trace, remembering, trace, weights_of
from glassgpt.text.chars import CharTokenizer
from test_decoding import CONTEXT, V, every_form, model_of

LETTERS = "abcdefghijklmnopqrstuvw"
TOKENIZER = CharTokenizer(LETTERS)
TEXT = "thelowfish"
assert len(LETTERS) == V
assert len(TEXT) < CONTEXT


def logits_of(model: Predictor, text: str) -> Tensor:
    """The plain forward pass that everything here is held to."""
    with torch.inference_mode():
        logits_TV: Tensor = model(torch.tensor([TOKENIZER.encode(text)]))[0][0]
    return logits_TV


def layers_of(model: GPT) -> list[Attention]:
    return [block.attention for block in model.blocks if isinstance(block, Block)]


# --- in every form ----------------------------------------------------------------------------------------------------


@every_form
def test_remembering_changes_nothing_and_what_each_layer_left_is_the_models_own(form: str) -> None:
    model = model_of(form)
    ids_BT = torch.tensor([TOKENIZER.encode(TEXT)])
    with torch.inference_mode(), remembering(model) as inside:
        logits_BTV, _ = model(ids_BT)
    with torch.inference_mode():
        last_BTV = model.predict(model.final_norm(inside.stream[-1]))
    torch.testing.assert_close(logits_BTV[0], logits_of(model, TEXT), atol=1e-5, rtol=0)
    torch.testing.assert_close(last_BTV[0], logits_of(model, TEXT), atol=1e-5, rtol=0)
    assert len(inside.stream) == 1 + len(inside.weights) == 1 + model.config.n_layers
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@every_form
def test_probabilities_surprise_and_ranks_are_those_of_rereading_each_beginning(form: str) -> None:
    model = model_of(form)
    seen = trace(model, TOKENIZER, TEXT, alternatives=3)
    for place, told in list(enumerate(seen.tokens))[1:]:
        probs_V = logits_of(model, TEXT[:place])[-1].softmax(dim=-1)
        probability = float(probs_V[told.token_id])
        assert told.probability == pytest.approx(probability, abs=1e-5)
        assert told.bits == pytest.approx(-math.log2(probability), abs=1e-4)
        assert told.rank == 1 + int((probs_V > probability).sum())
        assert [guess.token_id for guess in told.expected] == probs_V.topk(3).indices.tolist()
    probs_V = logits_of(model, TEXT)[-1].softmax(dim=-1)
    assert [guess.probability for guess in seen.upcoming] == pytest.approx(probs_V.topk(3).values.tolist(), abs=1e-5)


@every_form
def test_rows_of_attention_sum_to_one_and_look_only_backwards(form: str) -> None:
    model = model_of(form)
    seen = trace(model, TOKENIZER, TEXT)
    assert len(seen.attention) == model.config.n_layers
    for weights_HTS in seen.attention:
        assert weights_HTS.shape == (model.config.n_heads, len(TEXT), len(TEXT))
        assert np.allclose(weights_HTS.sum(axis=-1), 1, atol=1e-5)
        assert (weights_HTS >= 0).all()
        assert (np.triu(weights_HTS, k=1) == 0).all()
        assert np.ptp(weights_HTS[:, -1], axis=0).max() > 0.01, "the heads differ"


@every_form
@pytest.mark.parametrize("kernel", ["sdpa", "math"])
def test_the_weights_shown_are_those_that_the_layer_mixes_its_values_by(form: str, kernel: str) -> None:
    """Values times our weights, through the layer's own way out, is what the layer answered, by whichever kernel."""
    model = model_of(form, attention=kernel)
    answered: list[tuple[Tensor, Tensor]] = []

    def compare(attention: nn.Module, given: tuple[Any, ...], answer_BTD: Tensor) -> None:
        assert isinstance(attention, Attention)
        _, _, v_BHSK = attention.project(*given[:2])
        mixed_BHTK = weights_of(attention, *given[:2]) @ attention.share(v_BHSK)
        answered.append((attention.out(mixed_BHTK.transpose(1, 2).flatten(2)), answer_BTD))

    for attention in layers_of(model):
        attention.register_forward_hook(compare)
    logits_of(model, TEXT)
    assert len(answered) == model.config.n_layers
    for ours_BTD, theirs_BTD in answered:
        torch.testing.assert_close(ours_BTD, theirs_BTD, atol=1e-5, rtol=0)


@every_form
def test_the_last_row_of_the_lens_is_the_models_prediction(form: str) -> None:
    model = model_of(form)
    seen = trace(model, TOKENIZER, TEXT)
    best_T = logits_of(model, TEXT).softmax(dim=-1).max(dim=-1)
    assert len(seen.lens) == 1 + model.config.n_layers
    assert [guess.token_id for guess in seen.lens[-1]] == best_T.indices.tolist()
    assert [guess.probability for guess in seen.lens[-1]] == pytest.approx(best_T.values.tolist(), abs=1e-5)
    assert [guess.token_id for guess in seen.lens[0]] != [guess.token_id for guess in seen.lens[-1]]


@pytest.mark.parametrize("form", ["gpt2", "llama", "gelu, three steps of shift"])
def test_the_lens_of_a_layer_is_the_prediction_of_the_model_that_ends_there(form: str) -> None:
    model = model_of(form)
    seen = trace(model, TOKENIZER, TEXT)
    for depth in range(1, model.config.n_layers):
        shorter = model_of(form)
        shorter.blocks = shorter.blocks[:depth]
        best_T = logits_of(shorter, TEXT).softmax(dim=-1).max(dim=-1)
        assert [guess.token_id for guess in seen.lens[depth]] == best_T.indices.tolist()


@every_form
def test_norms_begin_with_the_embedding_and_end_with_what_the_final_norm_is_given(form: str) -> None:
    model = model_of(form)
    given: list[Tensor] = []
    model.final_norm.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    seen = trace(model, TOKENIZER, TEXT)
    ids_BT, positions_BT = torch.tensor([TOKENIZER.encode(TEXT)]), torch.arange(len(TEXT)).unsqueeze(0)
    with torch.inference_mode():
        embedded_BTD = model.embed(ids_BT, positions_BT, None)
    assert seen.norms[0] == pytest.approx(embedded_BTD[0].norm(dim=-1).tolist(), abs=1e-5)
    assert seen.norms[-1] == pytest.approx(given[0][0].norm(dim=-1).tolist(), abs=1e-5)  # the lens came later


# --- by hand ----------------------------------------------------------------------------------------------------------


def bigram_of(rows: dict[str, dict[str, float]]) -> Bigram:
    model = Bigram(ModelConfig(architecture="bigram", vocab_size=3, max_seq_len=8)).eval()
    with torch.no_grad():
        for row, letter in enumerate("abc"):
            model.table.weight[row] = torch.tensor([rows[letter][other] for other in "abc"]).log()
    return model


def test_by_hand_a_bigram_model_is_surprised_by_what_its_table_says() -> None:
    model = bigram_of(
        {
            "a": {"a": 0.25, "b": 0.5, "c": 0.25},
            "b": {"a": 0.125, "b": 0.125, "c": 0.75},
            "c": {"a": 0.25, "b": 0.25, "c": 0.5},
        }
    )
    seen = trace(model, CharTokenizer("abc"), "abac", alternatives=2)
    first, *others = seen.tokens
    assert (first.name, first.probability, first.expected) == ("a", None, ())
    assert [told.bits for told in others] == pytest.approx([1.0, 3.0, 2.0])
    assert [told.rank for told in others] == [1, 2, 2]
    assert others[1].expected[0].name == "c"
    assert seen.mean_bits == pytest.approx(2.0)
    assert seen.upcoming[0].name == "c"
    assert (seen.attention, seen.lens, seen.norms) == ((), (), ()), "a table has no inside"


def test_by_hand_a_head_that_asks_nothing_shares_its_attention_equally() -> None:
    model = model_of("gpt2")
    for attention in layers_of(model):
        torch.nn.init.zeros_(attention.qkv.weight)
        assert attention.qkv.bias is not None
        torch.nn.init.zeros_(attention.qkv.bias)
    for weights_HTS in trace(model, TOKENIZER, "abcd").attention:
        expected_TS = np.tril(np.ones((4, 4))) / np.arange(1, 5)[:, None]
        assert np.allclose(weights_HTS, expected_TS, atol=1e-6)


def test_by_hand_the_plane_of_points_that_lie_in_one_is_their_own_up_to_turning() -> None:
    flat_V2, share = plane(torch.tensor([[3.0, 5.0, 0.0], [-3.0, 5.0, 0.0], [0.0, 5.0, 1.0], [0.0, 5.0, -1.0]]))
    assert share == pytest.approx(1.0)
    assert flat_V2.abs().flatten().tolist() == pytest.approx([3, 0, 3, 0, 0, 1, 0, 1])
    [[(first, cosine), _]] = nearest(torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0]]), [0])
    assert (first, round(cosine, 4)) == (1, 0.9988)


# --- odd texts and models ---------------------------------------------------------------------------------------------


def test_of_a_text_longer_than_the_context_the_last_window_is_read_and_it_says_so() -> None:
    model = model_of("qwen3")
    model.context = 8  # trained shorter than it could look
    seen = trace(model, TOKENIZER, "aaaaa" + TEXT[:8])
    assert seen.tokens_left_out == 5
    assert "".join(told.name for told in seen.tokens) == TEXT[:8]
    whole = trace(model, TOKENIZER, TEXT[:8])
    assert whole.tokens_left_out == 0
    assert [told.bits for told in whole.tokens] == [told.bits for told in seen.tokens]


def test_one_token_alone_has_no_surprise_but_something_is_expected_behind_it() -> None:
    seen = trace(model_of("llama"), TOKENIZER, "a")
    assert (len(seen.tokens), seen.mean_bits, len(seen.upcoming)) == (1, None, 5)
    assert seen.attention[0].tolist() == [[[1.0]]] * 4


def test_an_empty_text_and_a_model_that_diverged_are_refused() -> None:
    model = model_of("gpt2")
    with pytest.raises(DataError, match="the text is empty"):
        trace(model, TOKENIZER, "")
    with torch.no_grad():
        model.token_embedding.weight[3] = math.nan
    with pytest.raises(DivergenceError, match="use an earlier checkpoint"):
        trace(model, TOKENIZER, "abcd")


def test_a_model_in_training_is_read_without_dropout_and_goes_on_training() -> None:
    model = model_of("gpt2", dropout=0.5)
    calm = trace(model, TOKENIZER, TEXT)
    model.train()
    model.checkpointing = True
    assert [told.bits for told in trace(model, TOKENIZER, TEXT).tokens] == [told.bits for told in calm.tokens]
    assert model.training


def test_hooks_are_gone_even_when_the_pass_fails() -> None:
    model = model_of("gpt2")
    with pytest.raises(IndexError), remembering(model):
        model(torch.tensor([[V + 5]]))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_others_let_the_model_read_meanwhile_is_not_noted() -> None:
    model = model_of("qwen3")
    with remembering(model) as inside:
        other = threading.Thread(target=logits_of, args=(model, "abc"))
        other.start()
        other.join()
        assert (inside.stream, inside.weights) == ([], [])
        logits_of(model, TEXT)
    assert [x_BTD.shape[1] for x_BTD in inside.stream] == [len(TEXT)] * (1 + model.config.n_layers)


def test_a_table_padded_beyond_the_tokenizer_is_no_trouble() -> None:
    model = stirred(model_of("qwen3", vocab_size=40), by=3.0)
    seen = trace(model, TOKENIZER, TEXT, alternatives=40)
    assert {guess.name for guess in seen.upcoming} >= {"a", f"<{V}>", "<39>"}
    assert len(seen.embeddings.tokens) == V


# --- the map, and JSON ------------------------------------------------------------------------------------------------


def test_neighbours_are_the_likest_by_cosine_and_positions_are_there_where_they_are_learned() -> None:
    model = model_of("gpt2")
    model.context = 8
    seen = embedding_map(model, TOKENIZER, chosen=range(V))
    unit_VD = torch.nn.functional.normalize(model.token_embedding.weight.detach(), dim=1)
    for row, point in enumerate(seen.tokens):
        cosines_V = unit_VD @ unit_VD[row]
        cosines_V[row] = -2
        assert point.near[0][0] == LETTERS[int(cosines_V.argmax())]
        assert point.near[0][1] == pytest.approx(float(cosines_V.max()), abs=1e-5)
    assert [point.name for point in seen.positions] == [str(place) for place in range(1, 9)]
    assert 0 < seen.tokens_share < 1
    assert embedding_map(model_of("llama"), TOKENIZER, chosen=[3]).positions == ()


def test_of_a_large_vocabulary_the_text_and_the_first_tokens_are_drawn() -> None:
    chosen = points_of([9000, 7, 9000], 50_000)
    assert chosen[:3] == [9000, 7, 0]
    assert len(chosen) == len(set(chosen)) == MOST_POINTS


@pytest.mark.parametrize("form", ["gpt2", "qwen3"])
def test_a_trace_becomes_json_and_its_rows_still_sum_to_one(form: str) -> None:
    seen: Trace = trace(model_of(form), TOKENIZER, TEXT)
    table = json.loads(json.dumps(seen.as_json(), allow_nan=False))
    assert set(table) == {field.name for field in dataclasses.fields(Trace)} | {"mean_bits"}
    assert table["tokens"][1]["probability"] == pytest.approx(seen.tokens[1].probability, rel=1e-4)
    for layer in table["attention"]:
        for head in layer:
            assert [len(row) for row in head] == list(range(1, len(TEXT) + 1))
            assert [sum(row) for row in head] == pytest.approx([1] * len(TEXT), abs=1e-3)
