"""The model as a whole: what it may see, what it costs, where it starts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from conftest import stirred
from glassgpt.config import ModelConfig
from glassgpt.errors import ConfigError
from glassgpt.model.attention import Attention
from glassgpt.model.bigram import Bigram
from glassgpt.model.cache import Cache
from glassgpt.model.count import block_activations, cache_bytes, count_parameters, flops_per_token, training_bytes
from glassgpt.model.dropout import Dropout
from glassgpt.model.gpt import GPT
from glassgpt.model.init import initialize

B, T, V, D, L = 3, 11, 29, 24, 2  # all different: a swapped axis cannot pass

FORMS: dict[str, dict[str, Any]] = {
    "gpt2": {"position": "learned"},
    "rotary": {"bias": False},
    "modern": {"norm": "rmsnorm", "mlp": "swiglu", "bias": False, "n_kv_heads": 2, "qk_norm": True},
    "shifted": {"mlp": "relu2", "token_shift": 3, "tie_weights": False},
    "everything": {"position": "learned", "norm": "rmsnorm", "n_kv_heads": 1, "token_shift": 2, "qk_norm": True},
}
every_form = pytest.mark.parametrize("form", FORMS)


def config_of(form: str, **changes: Any) -> ModelConfig:
    sizes = {"vocab_size": V, "d_model": D, "n_layers": L, "n_heads": 4, "max_seq_len": 17}
    return ModelConfig(**(sizes | FORMS[form] | changes))


def model_of(form: str, **changes: Any) -> GPT:
    return stirred(GPT(config_of(form, **changes), seed=3), by=0.3, seed=4)


def random_ids(*shape: int, seed: int = 5) -> torch.Tensor:
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(seed))


# --- what comes out -------------------------------------------------------------------------------------------------


@every_form
def test_the_loss_is_the_mean_surprise_of_the_targets_that_count(form: str) -> None:
    model, ids_BT, targets_BT = model_of(form), random_ids(B, T), random_ids(B, T, seed=6)
    targets_BT[1, 3:] = -100
    logits_BTV, loss = model(ids_BT, targets_BT)
    assert logits_BTV.shape == (B, T, V)
    probs = logits_BTV.detach().softmax(-1)
    surprises = [
        -math.log(probs[row, place, targets_BT[row, place]])
        for row in range(B)
        for place in range(T)
        if targets_BT[row, place] >= 0
    ]
    assert len(surprises) == B * T - 8
    assert loss.item() == pytest.approx(sum(surprises) / len(surprises), rel=1e-5)
    assert model(ids_BT)[1] is None


@every_form
def test_a_later_token_never_changes_an_earlier_logit(form: str) -> None:
    model, ids_BT = model_of(form), random_ids(B, T)
    with torch.no_grad():
        before_BTV, _ = model(ids_BT)
        for place in range(T):
            changed_BT = ids_BT.clone()
            changed_BT[:, place] = (ids_BT[:, place] + 1) % V
            after_BTV, _ = model(changed_BT)
            assert torch.equal(after_BTV[:, :place], before_BTV[:, :place])
            assert not torch.allclose(after_BTV[:, place], before_BTV[:, place], atol=1e-3)


@every_form
def test_every_earlier_token_can_change_the_last_logit(form: str) -> None:
    model, ids_BT = model_of(form), random_ids(B, T)
    with torch.no_grad():
        for place in range(T):
            changed_BT = ids_BT.clone()
            changed_BT[:, place] = (ids_BT[:, place] + 1) % V
            assert not torch.allclose(model(changed_BT)[0][:, -1], model(ids_BT)[0][:, -1], atol=1e-6)


@every_form
def test_every_parameter_receives_a_gradient(form: str) -> None:
    model = model_of(form)
    model(random_ids(B, T), random_ids(B, T, seed=6))[1].backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        # Adding the same to all keys changes no softmax, so the bias of unturned, unscaled keys may have none.
        assert name.endswith("qkv.bias") or weight.grad.abs().sum() > 1e-6, name


# --- where it starts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(32, 1, 1), (128, 4, 4), (384, 6, 6)], ids=str)
@pytest.mark.parametrize("form", ["gpt2", "modern", "shifted"])
def test_a_new_model_believes_nothing(form: str, sizes: tuple[int, int, int]) -> None:
    d_model, n_layers, n_heads = sizes
    changes = FORMS[form] | {"n_kv_heads": None}
    config = ModelConfig(**(changes | {"vocab_size": 65, "d_model": d_model, "n_layers": n_layers, "n_heads": n_heads}))
    rng = torch.Generator().manual_seed(1)
    ids_BT, targets_BT = (torch.randint(65, (4, 64), generator=rng) for _ in range(2))
    with torch.no_grad():
        _, loss = GPT(config, seed=1)(ids_BT, targets_BT)
    assert abs(loss.item() - math.log(65)) < (0.06 if config.tie_weights else 1e-5)


def test_weights_are_a_function_of_the_seed_and_leave_the_global_dice_alone() -> None:
    torch.manual_seed(1)
    untouched = torch.get_rng_state()
    first = GPT(config_of("everything"), seed=7)
    assert torch.equal(torch.get_rng_state(), untouched)
    torch.manual_seed(2)
    second, third = GPT(config_of("everything"), seed=7), GPT(config_of("everything"), seed=8)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name]), name
    assert not torch.equal(first.token_embedding.weight, third.token_embedding.weight)


def test_residual_outputs_start_smaller_the_deeper_the_model() -> None:
    shallow, deep = (GPT(ModelConfig(vocab_size=V, n_layers=layers)).state_dict() for layers in (1, 4))
    for part in ("attention.out", "mlp.down"):
        ratio = deep[f"blocks.0.{part}.weight"].std() / shallow[f"blocks.0.{part}.weight"].std()
        assert ratio.item() == pytest.approx(0.5, abs=0.02)


def test_a_new_block_of_an_untied_model_passes_on_what_it_got() -> None:
    model, x_BTD = GPT(config_of("shifted"), seed=1), torch.randn(B, T, D)
    rotation = model.rope(torch.arange(T).unsqueeze(0), dtype=x_BTD.dtype) if model.rope else None
    assert torch.equal(model.blocks[0](x_BTD, rotation, None, None), x_BTD)


# --- the cache ------------------------------------------------------------------------------------------------------


@every_form
@torch.no_grad()
def test_cached_logits_equal_full_ones_at_every_position(form: str) -> None:
    model, ids_BT = model_of(form), random_ids(B, T)
    full_BTV, _ = model(ids_BT)
    cache = model.make_cache(B)
    for place in range(T):
        step_BTV, _ = model(ids_BT[:, place : place + 1], cache=cache)
        torch.testing.assert_close(step_BTV[:, 0], full_BTV[:, place], atol=2e-5, rtol=1e-5)
    assert cache.lengths == (T,) * B


@every_form
@pytest.mark.parametrize("attention", ["sdpa", "math"])
@torch.no_grad()
def test_texts_of_different_lengths_share_a_cache_and_do_not_notice(form: str, attention: str) -> None:
    model, ids_BT = model_of(form, attention=attention), random_ids(B, T)
    lengths = [4, 1, 7]  # how much of each row is known at first; the rest is padding
    cache = model.make_cache(B)
    logits_BTV, _ = model(ids_BT[:, : max(lengths)], cache=cache)
    cache.truncate(lengths)
    alone = [model(row[None])[0][0] for row in ids_BT]
    for row, length in enumerate(lengths):
        torch.testing.assert_close(logits_BTV[row, :length], alone[row][:length], atol=2e-5, rtol=1e-5)
    for step in range(4):  # one, then two tokens at a time
        places = [length + step for length in lengths]
        new_B1 = torch.stack([ids_BT[row, place : place + 1] for row, place in enumerate(places)])
        logits_BTV, _ = model(new_B1, cache=cache)
        for row, place in enumerate(places):
            torch.testing.assert_close(logits_BTV[row, 0], alone[row][place], atol=2e-5, rtol=1e-5)


@every_form
@torch.no_grad()
def test_a_cache_can_forget_its_end_and_go_on_in_pieces_of_any_size(form: str) -> None:
    model, ids_BT = model_of(form), random_ids(B, T)
    full_BTV, _ = model(ids_BT)
    cache = model.make_cache(B)
    model(random_ids(B, 9, seed=9), cache=cache)
    cache.reset()
    model(ids_BT[:, :5], cache=cache)
    model(random_ids(B, 3, seed=8), cache=cache)
    cache.truncate([5] * B)
    logits_BTV, _ = model(ids_BT[:, 5:], cache=cache)
    torch.testing.assert_close(logits_BTV, full_BTV[:, 5:], atol=2e-5, rtol=1e-5)


@every_form
@torch.no_grad()
def test_rows_of_a_cache_can_leave_and_be_replaced(form: str) -> None:
    model, ids_BT = model_of(form), random_ids(B, T)
    full_BTV, _ = model(ids_BT)
    cache, other = model.make_cache(B), model.make_cache(1)
    model(ids_BT[:, :6], cache=cache)
    cache.keep_rows([2, 0])
    model(ids_BT[1:2, :4], cache=other)
    cache.replace_rows([1], other)
    assert cache.lengths == (6, 4)
    logits_BTV, _ = model(torch.stack((ids_BT[2, 6:7], ids_BT[1, 4:5])), cache=cache)
    torch.testing.assert_close(logits_BTV[:, 0], torch.stack((full_BTV[2, 6], full_BTV[1, 4])), atol=2e-5, rtol=1e-5)


def test_more_tokens_than_the_context_are_refused_with_the_way_out() -> None:
    model = model_of("gpt2")
    with pytest.raises(ConfigError, match=r"18 tokens are more than max_seq_len=17; give the model the last 17"):
        model(random_ids(1, 18))
    cache = model.make_cache(1)
    with torch.no_grad():
        model(random_ids(1, 16), cache=cache)
        with pytest.raises(ConfigError, match="18 tokens"):
            model(random_ids(1, 2), cache=cache)


def test_a_model_without_a_vocabulary_is_refused() -> None:
    with pytest.raises(ConfigError, match="vocab_size is not set"):
        GPT(ModelConfig())
    with pytest.raises(ConfigError, match="vocab_size is not set"):
        count_parameters(ModelConfig())


# --- training -------------------------------------------------------------------------------------------------------


@every_form
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_checkpointed_gradients_are_plain_ones(form: str, dropout: float) -> None:
    ids_BT, targets_BT = random_ids(B, T), random_ids(B, T, seed=6)
    gradients = []
    for checkpointing in (False, True):
        model = model_of(form, dropout=dropout)
        model.checkpointing = checkpointing
        torch.manual_seed(1)
        model(ids_BT, targets_BT)[1].backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    for name, gradient in gradients[0].items():
        recomputed = gradients[1][name]
        assert gradient is not None
        assert recomputed is not None
        assert torch.equal(gradient, recomputed), name


def test_checkpointing_keeps_less() -> None:
    def bytes_kept(*, checkpointing: bool) -> int:
        kept: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        model = model_of("gpt2", n_layers=6)
        model.checkpointing = checkpointing
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            _, loss = model(random_ids(B, T), random_ids(B, T))
        assert loss is not None
        weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
        return sum(size for address, size in kept.items() if address not in weights)

    assert bytes_kept(checkpointing=True) < 0.4 * bytes_kept(checkpointing=False)


def test_dropout_is_for_training_only_and_reaches_every_place_that_gpt2_has() -> None:
    model = model_of("gpt2", dropout=0.5).eval()
    assert torch.equal(model(random_ids(B, T))[0], model(random_ids(B, T))[0])
    places = {name for name, part in model.named_modules() if isinstance(part, Dropout)}
    assert places == {"dropout"} | {f"blocks.{n}.{part}.dropout" for n in range(L) for part in ("attention", "mlp")}
    attention = Attention(model.config.but(dropout=0.5))
    initialize(torch.nn.ModuleDict({"attention": attention}), model.config, rng=torch.Generator())
    attention.dropout.eval()  # what still varies are the weights
    x_BTD = torch.randn(B, T, D)
    assert not torch.equal(attention(x_BTD), attention(x_BTD))


@every_form
def test_bf16_autocast_stays_near_fp32_and_trains(form: str) -> None:
    model, ids_BT, targets_BT = GPT(config_of(form), seed=1), random_ids(B, T), random_ids(B, T, seed=6)
    _, exact = model(ids_BT, targets_BT)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits_BTV, loss = model(ids_BT, targets_BT)
        with torch.no_grad():
            cached_BTV, _ = model(ids_BT, cache=model.make_cache(B))
    assert logits_BTV.dtype is torch.bfloat16
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx(exact.item(), abs=0.02)  # bf16 keeps 8 bits of each logit
    torch.testing.assert_close(cached_BTV, logits_BTV, atol=0.03, rtol=0.02)
    loss.backward()


@pytest.mark.parametrize(
    "form", [form if form in {"gpt2", "everything"} else pytest.param(form, marks=pytest.mark.slow) for form in FORMS]
)
def test_the_model_compiles_whole(form: str) -> None:
    torch.compiler.reset()
    model, ids_BT = model_of(form), random_ids(B, T)
    whole = torch.compile(model, fullgraph=True, backend="eager", dynamic=False)  # a break in the graph would raise
    torch.testing.assert_close(whole(ids_BT, ids_BT), model(ids_BT, ids_BT))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, loss = whole(ids_BT, ids_BT)
    loss.backward()


@pytest.mark.parametrize("form", ["gpt2", "modern", "shifted"])
def test_a_model_learns_a_pattern_by_heart(form: str) -> None:
    model = GPT(config_of(form), seed=1)
    ids_BT = (torch.arange(T + 1) * 7 % V).repeat(B, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        _, loss = model(ids_BT[:, :-1], ids_BT[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert torch.equal(model.eval().generate(ids_BT[:, :3], 6, temperature=0), ids_BT[:, :9])


# --- counting -------------------------------------------------------------------------------------------------------


@every_form
@pytest.mark.parametrize("changes", [{}, {"bias": True}, {"tie_weights": False, "d_ff": 37}], ids=str)
def test_parameters_by_arithmetic_are_those_of_the_module(form: str, changes: dict[str, Any]) -> None:
    config = config_of(form, **changes)
    model, counted = GPT(config), count_parameters(config)
    assert counted.total == sum(weight.numel() for weight in model.parameters())
    tables = [part for part in (model.token_embedding, model.position_embedding) if part is not None]
    assert counted.without_embeddings == counted.total - sum(table.weight.numel() for table in tables)
    assert counted.attention == sum(w.numel() for n, w in model.named_parameters() if ".attention." in n)
    assert counted.mlp == sum(w.numel() for n, w in model.named_parameters() if ".mlp." in n)


@every_form
def test_flops_by_arithmetic_are_those_that_torch_counts(form: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = model_of(form, attention="math")  # T is below one block, so nothing is skipped
    ids_BT = random_ids(B, T)
    with FlopCounterMode(display=False) as counter:
        model(ids_BT, ids_BT)[1].backward()
    assert counter.get_total_flops() == B * T * flops_per_token(model.config, T)


@every_form
def test_cache_bytes_by_arithmetic_are_those_of_the_cache(form: str) -> None:
    cache: Cache = model_of(form).make_cache(B)
    held = sum(getattr(owner, name).nbytes for owner, name in cache._tapes())
    assert held == cache_bytes(cache.config, batch_size=B)


def test_training_bytes_are_near_what_autograd_keeps() -> None:
    for form in FORMS:
        config = config_of(form, d_model=64, attention="math", max_seq_len=64)
        kept: dict[int, int] = {}

        def pack(tensor: torch.Tensor, kept: dict[int, int] = kept) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        model = GPT(config)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            kept_alive = model(random_ids(B, 64), random_ids(B, 64))
        weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
        measured = sum(size for address, size in kept.items() if address not in weights)
        del kept_alive
        estimate = training_bytes(config, batch_size=B, seq_len=64)
        assert 0.5 < estimate.activations / measured < 2, (form, estimate.activations, measured)
        assert estimate.optimizer == 2 * estimate.weights == 8 * count_parameters(config).total
    assert block_activations(config.but(attention="sdpa"), 64) < block_activations(config, 64)


# --- the ancestor ---------------------------------------------------------------------------------------------------

BIGRAM = ModelConfig(architecture="bigram", vocab_size=V, max_seq_len=6)


def test_the_bigram_model_learns_the_odds_of_pairs() -> None:
    model, ids_BT = Bigram(BIGRAM, seed=1), random_ids(1, 400)
    assert model(ids_BT[:, :-1], ids_BT[:, 1:])[1].item() == pytest.approx(math.log(V), abs=0.01)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.3, weight_decay=0)
    for _ in range(120):
        _, loss = model(ids_BT[:, :-1], ids_BT[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pairs = torch.zeros(V, V)
    for first, second in zip(ids_BT[0, :-1], ids_BT[0, 1:], strict=True):
        pairs[first, second] += 1
    best = -(pairs * (pairs / pairs.sum(1, keepdim=True)).log()).nansum() / pairs.sum()
    assert best.item() < loss.item() < best.item() + 0.05


def test_the_bigram_model_writes_like_the_gpt() -> None:
    model = Bigram(BIGRAM, seed=1)
    written_BT = model.generate(random_ids(B, 2), 7, rng=torch.Generator().manual_seed(1))
    assert written_BT.shape == (B, 9)
    assert torch.equal(written_BT, model.generate(random_ids(B, 2), 7, rng=torch.Generator().manual_seed(1)))
    best_BT = model.generate(written_BT[:, -1:], 1, temperature=0)
    assert torch.equal(best_BT[:, 1], model.table.weight[written_BT[:, -1]].argmax(-1))
    assert torch.equal(best_BT, model.generate(written_BT[:, -1:], 1, top_k=1))
