"""Rotary positions: turning by angles, so that only distances count."""

from __future__ import annotations

import math

import torch

from glassgpt.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.model.rope import Rope, rotate

B, H, T, K = 2, 3, 11, 8
ROPE = Rope(K, 64, base=100.0)


def rotation(*positions: int) -> tuple[torch.Tensor, torch.Tensor]:
    result: tuple[torch.Tensor, torch.Tensor] = ROPE(torch.tensor([positions]), dtype=torch.float32)
    return result


def random_vector(seed: int) -> torch.Tensor:
    return torch.randn(1, 1, 1, K, generator=torch.Generator().manual_seed(seed))


def test_the_first_pair_turns_by_one_radian_per_token() -> None:
    east = torch.zeros(1, 1, 1, K)
    east[..., 0] = 1
    turned = rotate(east, rotation(2)).flatten()
    assert torch.allclose(turned[[0, K // 2]], torch.tensor([math.cos(2), math.sin(2)]))  # half-split: 0 pairs with K/2
    assert turned.count_nonzero() == 2


def test_each_pair_turns_by_its_own_speed_as_complex_numbers_do() -> None:
    x_BHTK = torch.randn(B, H, T, K, generator=torch.Generator().manual_seed(1))
    pairs = torch.complex(x_BHTK[..., : K // 2], x_BHTK[..., K // 2 :])
    speeds = torch.tensor([100.0 ** (-2 * pair / K) for pair in range(K // 2)])
    turned = pairs * torch.exp(1j * torch.arange(T)[:, None] * speeds)
    expected = torch.cat((turned.real, turned.imag), dim=-1)
    assert torch.allclose(rotate(x_BHTK, rotation(*range(T))), expected, atol=1e-5)


def test_the_match_of_query_and_key_depends_on_their_distance_alone() -> None:
    q, k = random_vector(1), random_vector(2)

    def match(query_at: int, key_at: int) -> float:
        return float((rotate(q, rotation(query_at)) * rotate(k, rotation(key_at))).sum())

    for distance in (0, 1, 5):
        matches = [match(key_at + distance, key_at) for key_at in (0, 1, 7, 30)]
        assert max(matches) - min(matches) < 1e-5
    assert abs(match(5, 0) - match(4, 0)) > 1e-3
    assert abs(match(5, 0) - match(0, 5)) > 1e-3  # before is not after


def test_turning_keeps_lengths_and_position_zero_turns_nothing() -> None:
    x = random_vector(3)
    assert torch.allclose(rotate(x, rotation(13)).norm(), x.norm())
    assert torch.equal(rotate(x, rotation(0)), x)


def test_the_angles_are_fp32_until_the_end_and_in_no_checkpoint() -> None:
    far = Rope(4, 600, base=10_000.0)
    cos_B1TK, _ = far(torch.tensor([[257]]), dtype=torch.bfloat16)
    assert cos_B1TK.dtype is torch.bfloat16
    assert (
        abs(float(cos_B1TK.flatten()[0]) - math.cos(257)) < 2**-8
    )  # had 257 been rounded first, this would be cos 256
    assert far.state_dict() == {}


def test_a_rotary_model_knows_the_order_of_its_tokens() -> None:
    model = GPT(
        ModelConfig(
            vocab_size=13, d_model=16, n_heads=2, n_layers=1, norm="layernorm", mlp="gelu", bias=True, qk_norm=False
        ),
        seed=1,
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4)
        there, back = model(torch.tensor([[1, 2, 3]]))[0][0, -1], model(torch.tensor([[2, 1, 3]]))[0][0, -1]
    assert not torch.allclose(there, back, atol=1e-3)
