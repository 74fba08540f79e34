"""The fused kernel, attention in blocks and attention by hand are one and the same."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from glassgpt.config import ModelConfig
from glassgpt.model import attention
from glassgpt.model.attention import Attention, attend, attend_causally, is_faster_by_hand
from glassgpt.model.gpt import GPT

B, H, T, K = 2, 3, 13, 5
D = 24


def random_heads(*, queries: int = T, keys: int = T) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    q_BHTK = torch.randn(B, H, queries, K, generator=rng, requires_grad=True)
    k_BHSK = torch.randn(B, H, keys, K, generator=rng, requires_grad=True)
    v_BHSK = torch.randn(B, H, keys, K, generator=rng, requires_grad=True)
    return q_BHTK, k_BHSK, v_BHSK


def test_attend_is_the_formula_one_query_at_a_time() -> None:
    q_BHTK, k_BHSK, v_BHSK = (heads.detach() for heads in random_heads(queries=4, keys=7))
    visible_TS = torch.rand(4, 7, generator=torch.Generator().manual_seed(2)) < 0.6
    visible_TS[:, 0] = True
    answers_BHTK = attend(q_BHTK, k_BHSK, v_BHSK, visible_TS)
    for t in range(4):
        seen = [s for s in range(7) if visible_TS[t, s]]
        scores = torch.tensor([float(q_BHTK[1, 2, t] @ k_BHSK[1, 2, s]) / math.sqrt(K) for s in seen])
        expected_K = sum(weight * v_BHSK[1, 2, s] for weight, s in zip(scores.softmax(0), seen, strict=True))
        assert isinstance(expected_K, Tensor)
        torch.testing.assert_close(answers_BHTK[1, 2, t], expected_K, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("block", [1, 4, T, 128])
def test_by_hand_in_blocks_and_fused_agree_in_answers_and_gradients(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "BLOCK", block)
    heads = random_heads()
    causal_TS = torch.ones(T, T, dtype=torch.bool).tril()
    pull_BHTK = torch.randn(B, H, T, K, generator=torch.Generator().manual_seed(3))
    fused_BHTK = F.scaled_dot_product_attention(*heads, is_causal=True)
    fused_gradients = torch.autograd.grad(fused_BHTK, heads, pull_BHTK)
    for by_hand_BHTK in (attend(*heads, causal_TS), attend_causally(*heads)):
        torch.testing.assert_close(by_hand_BHTK, fused_BHTK, atol=1e-5, rtol=0)
        gradients = torch.autograd.grad(by_hand_BHTK, heads, pull_BHTK)
        for mine, theirs in zip(gradients, fused_gradients, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("qk_norm", [False, True])
def test_whole_models_agree_in_logits_and_gradients(kv_heads: int, qk_norm: bool) -> None:
    config = ModelConfig(vocab_size=19, d_model=D, n_heads=4, n_kv_heads=kv_heads, n_layers=2, qk_norm=qk_norm)
    ids_BT = torch.randint(19, (B, T), generator=torch.Generator().manual_seed(4))
    results = []
    for form in ("math", "sdpa"):
        model = GPT(config.but(attention=form), seed=5)
        logits_BTV, loss = model(ids_BT, ids_BT)
        loss.backward()
        results.append([logits_BTV, *(weight.grad for weight in model.parameters())])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_grouped_queries_share_neighbouring_key_heads() -> None:
    layer = Attention(ModelConfig(d_model=D, n_heads=4, n_kv_heads=2))
    shared_BHSK = layer.share(torch.arange(2.0).view(1, 2, 1, 1))
    assert shared_BHSK.flatten().tolist() == [0, 0, 1, 1]


def test_dropout_drops_weights_of_attention_and_keeps_the_mean() -> None:
    q_BHTK, k_BHSK, v_BHSK = random_heads()
    torch.manual_seed(1)
    exact_BHTK = attend_causally(q_BHTK, k_BHSK, v_BHSK)
    runs = torch.stack([attend_causally(q_BHTK, k_BHSK, v_BHSK, dropout=0.3).detach() for _ in range(2000)])
    assert runs.std(0).min() > 0
    # the error of a mean over 2000 runs; 5 sigma, for 390 numbers are looked at
    assert ((runs.mean(0) - exact_BHTK).abs() < 5 * runs.std(0) / math.sqrt(2000) + 1e-6).all()


def test_in_blocks_the_lean_form_drops_what_the_plain_one_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BLOCK", 4)
    heads, results = random_heads(), []
    for leanly in (True, False):
        monkeypatch.setattr(attention, "by_hand", lambda _, leanly=leanly: leanly)
        torch.manual_seed(1)
        answers_BHTK = attend_causally(*heads, dropout=0.3)
        results.append([answers_BHTK, *torch.autograd.grad(answers_BHTK.square().sum(), heads)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_auto_is_by_hand_on_cpu_in_half_precision_or_with_dropout_and_nowhere_else() -> None:
    assert is_faster_by_hand(torch.empty(1, 1, 1, 2, dtype=torch.bfloat16))
    assert is_faster_by_hand(torch.empty(1, 1, 1, 2), dropout=0.1)
    assert not is_faster_by_hand(torch.empty(1, 1, 1, 2))
    assert not is_faster_by_hand(torch.empty(1, 1, 1, 2, dtype=torch.bfloat16, device="meta"), dropout=0.1)


@pytest.mark.parametrize(
    ("form", "half", "is_fused"),
    [("math", False, False), ("sdpa", True, True), ("auto", False, True), ("auto", True, False)],
)
def test_the_configuration_chooses_the_form(
    form: str, half: bool, is_fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fused_calls: list[bool] = []
    fused = F.scaled_dot_product_attention

    def spy(*heads: Tensor, **options: object) -> Tensor:
        fused_calls.append(True)
        return fused(*heads, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    model = GPT(ModelConfig(vocab_size=7, d_model=D, n_heads=4, n_layers=1).but(attention=form), seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        model(torch.zeros(B, T, dtype=torch.long))
    assert bool(fused_calls) == is_fused
