"""With the same random weights our forms answer as the architectures of `transformers` do.

Each `..._weights` gives our parameters under their names; an outsider's module then holds
nothing that did not come from ours (`strict`, apart from what it computes itself).
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from conftest import stirred
from glassgpt.config import ModelConfig
from glassgpt.model.gpt import GPT

transformers = pytest.importorskip("transformers", reason="the outsider; pip install 'glassgpt[test]' brings it")

B, T, V, D, L = 3, 13, 31, 24, 2
GPT_2: dict[str, Any] = {
    "position": "learned",
    "norm": "layernorm",
    "mlp": "gelu",
    "bias": True,
    "tie_weights": True,
    "qk_norm": False,
}


def random_model(**form: Any) -> GPT:
    sizes = {"vocab_size": V, "d_model": D, "n_layers": L, "n_heads": 4, "d_ff": 40, "max_seq_len": 17}
    return stirred(GPT(ModelConfig(**(GPT_2 | sizes | form)), seed=1), by=0.2).eval()


def assert_same_logits(ours: GPT, theirs: Any, weights: dict[str, Tensor]) -> None:
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert set(missing) <= ({"lm_head.weight", "embed_out.weight"} if ours.config.tie_weights else set())
    assert not unexpected
    theirs.eval().tie_weights()
    ids_BT = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        ours_BTV, _ = ours(ids_BT)
        theirs_BTV = theirs(ids_BT).logits
    assert ours_BTV.std() > 0.5  # else all would be equal
    torch.testing.assert_close(ours_BTV, theirs_BTV, atol=1e-4, rtol=0)


def both(ours: dict[str, Tensor], mine: str, theirs: str) -> dict[str, Tensor]:
    """Weight and, where there is one, bias of one part under its other name."""
    kinds = ("weight", "bias")
    return {f"{theirs}.{kind}": ours[f"{mine}.{kind}"] for kind in kinds if f"{mine}.{kind}" in ours}


# --- GPT-2 ----------------------------------------------------------------------------------------------------------


def gpt2_weights(model: GPT) -> dict[str, Tensor]:
    ours = model.state_dict()
    weights = {
        "transformer.wte.weight": ours["token_embedding.weight"],
        "transformer.wpe.weight": ours["position_embedding.weight"],
        **both(ours, "final_norm", "transformer.ln_f"),
    }
    for n in range(L):
        block, place = f"blocks.{n}", f"transformer.h.{n}"
        weights |= both(ours, f"{block}.attention_norm", f"{place}.ln_1")
        weights |= both(ours, f"{block}.mlp_norm", f"{place}.ln_2")
        for mine, theirs in {
            "attention.qkv": "attn.c_attn",
            "attention.out": "attn.c_proj",
            "mlp.up": "mlp.c_fc",
            "mlp.down": "mlp.c_proj",
        }.items():
            weights |= both(ours, f"{block}.{mine}", f"{place}.{theirs}")
            weights[f"{place}.{theirs}.weight"] = ours[f"{block}.{mine}.weight"].T  # GPT-2 stores (inputs, outputs)
    return weights


def test_the_gpt2_form_is_gpt2() -> None:
    ours = random_model(position="learned", norm="layernorm", mlp="gelu", bias=True, tie_weights=True)
    sizes = {"vocab_size": V, "n_embd": D, "n_layer": L, "n_head": 4, "n_inner": 40, "n_positions": 17}
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes))
    assert_same_logits(ours, theirs, gpt2_weights(ours))


# --- GPT-NeoX -------------------------------------------------------------------------------------------------------


def neox_weights(model: GPT, *, head: str) -> dict[str, Tensor]:
    ours = model.state_dict()
    weights = {
        "gpt_neox.embed_in.weight": ours["token_embedding.weight"],
        **both(ours, "final_norm", "gpt_neox.final_layer_norm"),
        **both(ours, "head", head),
    }
    for n in range(L):
        block, place = f"blocks.{n}", f"gpt_neox.layers.{n}"
        weights |= both(ours, f"{block}.attention_norm", f"{place}.input_layernorm")
        weights |= both(ours, f"{block}.mlp_norm", f"{place}.post_attention_layernorm")
        weights |= both(ours, f"{block}.attention.out", f"{place}.attention.dense")
        weights |= both(ours, f"{block}.mlp.up", f"{place}.mlp.dense_h_to_4h")
        weights |= both(ours, f"{block}.mlp.down", f"{place}.mlp.dense_4h_to_h")
        for kind in (
            "weight",
            "bias",
        ):  # ours: all queries, all keys, all values; theirs: q, k, v of head 0, of head 1, ...
            qkv = ours[f"{block}.attention.qkv.{kind}"].unflatten(0, (3, 4, D // 4))
            weights[f"{place}.attention.query_key_value.{kind}"] = qkv.transpose(0, 1).flatten(0, 2)
    return weights


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("mlp", "hidden_act"), [("gelu", "gelu_pytorch_tanh"), ("gelu_exact", "gelu")])
def test_the_rotary_form_is_gpt_neox_with_sequential_residuals(mlp: str, hidden_act: str, tied: bool) -> None:
    ours = random_model(position="rope", norm="layernorm", mlp=mlp, bias=True, tie_weights=tied)
    theirs = transformers.GPTNeoXForCausalLM(
        transformers.GPTNeoXConfig(
            vocab_size=V,
            hidden_size=D,
            num_hidden_layers=L,
            num_attention_heads=4,
            intermediate_size=40,
            max_position_embeddings=17,
            hidden_act=hidden_act,
            rotary_pct=1.0,
            use_parallel_residual=False,
            tie_word_embeddings=tied,
        )
    )
    head = "lm_head" if hasattr(theirs, "lm_head") else "embed_out"  # before transformers 5
    assert_same_logits(ours, theirs, neox_weights(ours, head=head))


# --- Llama and Qwen3 ------------------------------------------------------------------------------------------------


def llama_weights(model: GPT) -> dict[str, Tensor]:
    ours, config = model.state_dict(), model.config
    weights = {
        "model.embed_tokens.weight": ours["token_embedding.weight"],
        "model.norm.weight": ours["final_norm.weight"],
        **both(ours, "head", "lm_head"),
    }
    for n in range(L):
        block, place = f"blocks.{n}", f"model.layers.{n}"
        weights |= both(ours, f"{block}.attention_norm", f"{place}.input_layernorm")
        weights |= both(ours, f"{block}.mlp_norm", f"{place}.post_attention_layernorm")
        rows = [heads * config.head_width for heads in (config.n_heads, config.kv_heads, config.kv_heads)]
        parts = ours[f"{block}.attention.qkv.weight"].split(rows)
        weights |= {f"{place}.self_attn.{name}_proj.weight": part for name, part in zip("qkv", parts, strict=True)}
        for mine in ("q_norm", "k_norm"):
            weights |= both(ours, f"{block}.attention.{mine}", f"{place}.self_attn.{mine}")
        weights |= both(ours, f"{block}.attention.out", f"{place}.self_attn.o_proj")
        for mine in ("gate", "up", "down"):
            weights |= both(ours, f"{block}.mlp.{mine}", f"{place}.mlp.{mine}_proj")
    return weights


MODERN = {"position": "rope", "norm": "rmsnorm", "mlp": "swiglu", "bias": False}


def llama_sizes(kv_heads: int, *, tied: bool) -> dict[str, Any]:
    return {
        "vocab_size": V,
        "hidden_size": D,
        "num_hidden_layers": L,
        "num_attention_heads": 4,
        "num_key_value_heads": kv_heads,
        "head_dim": D // 4,
        "intermediate_size": 40,
        "max_position_embeddings": 17,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": tied,
    }


@pytest.mark.parametrize(("kv_heads", "tied"), [(4, False), (2, True), (1, False)])
def test_the_modern_form_is_llama(kv_heads: int, tied: bool) -> None:
    ours = random_model(**MODERN, n_kv_heads=kv_heads, tie_weights=tied)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**llama_sizes(kv_heads, tied=tied)))
    assert_same_logits(ours, theirs, llama_weights(ours))


@pytest.mark.parametrize(("kv_heads", "tied"), [(4, True), (2, False)])
def test_the_modern_form_with_qk_norm_is_qwen3(kv_heads: int, tied: bool) -> None:
    ours = random_model(**MODERN, n_kv_heads=kv_heads, tie_weights=tied, qk_norm=True)
    theirs = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**llama_sizes(kv_heads, tied=tied)))
    assert_same_logits(ours, theirs, llama_weights(ours))
