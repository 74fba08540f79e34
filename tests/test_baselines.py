"""What simple methods reach: the fast n-grams equal slow ones, and both baselines give the figures that we quote."""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassgpt.errors import ConfigError, DataError
from glassgpt.lab import baselines
from glassgpt.lab.baselines import CODE_POINTS, count_ngrams, ngram_loss, xz_bits_per_byte

SHAKESPEARE = Path(__file__).parents[2] / "shared" / "data" / "tinyshakespeare.txt"
few_letters = st.text("abc \n", max_size=60)
texts = few_letters | st.text(max_size=30)


class SlowNgrams:
    """The formula of the module's docstring, word for word, with dictionaries."""

    def __init__(self, text: str, order: int) -> None:
        self.alphabet = set(text)
        endless = [*text, *[None] * (order - 1)]  # past its end the text goes on with something unknown
        self.after: dict[tuple[str | None, ...], Counter[str | None]] = {}
        for start in range(len(text)):
            for length in range(order):
                context = tuple(endless[start : start + length])
                self.after.setdefault(context, Counter())[endless[start + length]] += 1

    def probability(self, context: tuple[str | None, ...], character: str | None) -> float:
        shorter = self.probability(context[1:], character) if context else 1 / (len(self.alphabet) + 1)
        followers = self.after.get(context, Counter())
        total, kinds = followers.total(), len(followers)
        return (followers[character] + kinds * shorter) / (total + kinds) if total else shorter

    def loss(self, text: str, order: int) -> float:
        nats = 0.0
        for place, character in enumerate(text):
            context = [seen if seen in self.alphabet else None for seen in text[max(place - order + 1, 0) : place]]
            known = character in self.alphabet
            context_padded = (*[None] * (order - 1 - len(context)), *context)
            probability = self.probability(context_padded, character if known else None)
            nats -= math.log(probability if known else probability / (CODE_POINTS - len(self.alphabet)))
        return nats / len(text)


@given(training_text=texts, text=texts.filter(bool), order=st.integers(1, 6))
def test_fast_counting_equals_slow_counting(training_text: str, text: str, order: int) -> None:
    slow = SlowNgrams(training_text, order).loss(text, order)
    assert ngram_loss(training_text, text, order) == pytest.approx(slow, rel=1e-9)


@given(training_text=texts, context=texts, order=st.integers(1, 6))
def test_the_probabilities_of_all_characters_sum_to_one(training_text: str, context: str, order: int) -> None:
    counted = count_ngrams(training_text, order)
    known = sorted(set(training_text))
    unknown = next(chr(point) for point in range(0x4E00, CODE_POINTS) if chr(point) not in known)
    probabilities = [counted.probabilities(context + character)[-1] for character in [*known, unknown]]
    assert math.fsum(probabilities[:-1]) + probabilities[-1] * (CODE_POINTS - len(known)) == pytest.approx(1, rel=1e-9)


@settings(max_examples=30)
@given(training_text=few_letters, text=few_letters.filter(bool), chunk=st.integers(1, 9))
def test_the_answer_does_not_depend_on_how_much_is_looked_at_in_one_go(
    training_text: str, text: str, chunk: int
) -> None:
    whole = ngram_loss(training_text, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "CHUNK", chunk)
        assert ngram_loss(training_text, text) == pytest.approx(whole, rel=1e-12)


def test_an_alphabet_too_large_to_pack_keeps_its_frequent_characters_and_stays_a_distribution() -> None:
    rng = np.random.default_rng(1)
    rare = "".join(chr(point) for point in rng.permutation(np.arange(0x4E00, 0x4E00 + 9000)))
    counted = count_ngrams("the cat sat on the mat. " * 400 + rare, order=5)
    assert counted.num_symbols < 9000
    assert counted.probabilities("the cat s")[-1] > 0.5
    kept = [chr(point) for point in np.flatnonzero(counted.symbol_of < counted.num_symbols - 1)]
    missing = next(character for character in rare if character not in kept)
    total = math.fsum(counted.probabilities("sat" + character)[-1] for character in kept)
    total += counted.probabilities("sat" + missing)[-1] * (CODE_POINTS - len(kept))
    assert total == pytest.approx(1, rel=1e-9)


def test_what_was_read_often_costs_less_than_what_was_read_once_or_never() -> None:
    counted = count_ngrams("abab" * 50 + "abac", 3)
    after_a = {character: counted.probabilities("ba" + character)[-1] for character in "bcaz"}
    assert after_a["b"] > after_a["c"] > after_a["a"] > after_a["z"] > 0


def test_lone_surrogates_and_the_last_code_point_can_be_scored() -> None:
    assert math.isfinite(ngram_loss("a\ud800b", "\udfff\U0010ffffa"))
    assert math.isfinite(xz_bits_per_byte("\ud800"))


def test_xz_pays_for_what_is_new_and_hardly_for_what_it_has_read() -> None:
    rng = np.random.default_rng(1)
    noise = "".join(rng.choice(list("0123456789abcdef"), 20_000))
    assert xz_bits_per_byte(noise) > 4  # four bits of chance in each character, and no way around them
    assert xz_bits_per_byte(noise, training_text="some words first. " + noise) < 0.05


def test_mistakes_are_told() -> None:
    with pytest.raises(DataError, match="no text to score"):
        ngram_loss("abc", "")
    with pytest.raises(DataError, match="no text to compress"):
        xz_bits_per_byte("")
    for order in (0, 17):
        with pytest.raises(ConfigError, match=f"order={order} makes no n-grams; choose 1 to 16"):
            ngram_loss("abc", "abc", order)


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason="tinyshakespeare lies in ../shared/data, which is not here")
class TestOnShakespeare:
    text = SHAKESPEARE.read_text(encoding="utf-8") if SHAKESPEARE.exists() else ""
    cut = int(len(text) * 0.9)

    def test_five_grams_reach_the_figure_that_models_are_compared_with(self) -> None:
        assert ngram_loss(self.text[: self.cut], self.text[self.cut :]) == pytest.approx(1.669, abs=0.001)

    def test_four_megabytes_are_counted_and_scored_in_seconds(self) -> None:
        started = time.perf_counter()
        ngram_loss(self.text * 4, self.text[self.cut :] * 4)
        assert time.perf_counter() - started < 15  # about one second alone; the machine may be busy

    @pytest.mark.skipif(shutil.which("xz") is None, reason="the xz command is not here to compare with")
    def test_our_size_is_that_of_the_xz_command(self) -> None:
        content = self.text[self.cut :].encode("utf-8")
        packed = subprocess.run(
            ["xz", "-9e", "--stdout", "--check=crc64"], input=content, capture_output=True, check=True
        )
        assert xz_bits_per_byte(content.decode("utf-8")) == pytest.approx(
            8 * len(packed.stdout) / len(content), rel=1e-3
        )
