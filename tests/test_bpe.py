"""The readable BPE and the fast one: equal to each other, and to what others make of the same merges."""

from __future__ import annotations

import itertools
import random
import string
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import regex
import rustbpe
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from glassgpt.errors import TokenizerError
from glassgpt.text import fast as fast_module
from glassgpt.text import split as split_module
from glassgpt.text.bpe import BPE, Row, apply_merges, learn_merges
from glassgpt.text.bytelevel import BYTE_CHARACTERS, BYTES, SPECIALS, ByteLevel, Pair
from glassgpt.text.fast import FastBPE
from glassgpt.text.split import PATTERN, count_chunks, split
from glassgpt.text.store import parse_tokenizer

ROOT = Path(__file__).resolve().parents[1]
SHAKESPEARE = ROOT.parent / "shared" / "data" / "tinyshakespeare.txt"
VOCAB_SIZE = 1000

# Words that give merges to learn, in several scripts, with contractions, digits, all kinds of blanks and controls.
SAMPLE = (
    "It's the owl's sea; they'll see the sea, and we've seen 1234 and 12345 owls.\n\n  Näin sanoi pöllö: «mökki»\t"
    "日本語 日本語\r\n\u00a0\u2003x\x1c\x1c🦉🦉🦉 e\u0301e\u0301  aaaaaaa bababab <|end|><|begin|> "
) * 3  # fmt: skip
any_text = st.text(max_size=60) | st.text(alphabet=SAMPLE, max_size=120)


@pytest.fixture(scope="module", autouse=True)
def engine_for_short_texts() -> Iterator[None]:
    """Else the short ones of this file were read in plain Python by both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_module, "SHORT", 0)
        yield


@pytest.fixture(scope="module")
def shakespeare() -> str:
    if not SHAKESPEARE.is_file():
        pytest.skip("tinyshakespeare.txt does not lie beside this repository")
    return SHAKESPEARE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def python_sources() -> str:
    """A million characters of the standard library."""
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    return "".join(path.read_text(encoding="utf-8") for path in paths)[:1_000_000]


@pytest.fixture(scope="module")
def readable() -> BPE:
    tokenizer = BPE.train([SAMPLE], vocab_size=350)
    assert tokenizer.vocab_size == 350
    return tokenizer


@pytest.fixture(scope="module")
def fast(readable: BPE) -> FastBPE:
    return FastBPE(readable.merges)


# --- learning -------------------------------------------------------------------------------------------------------


def merges_by_recounting(counts: Mapping[str, int], limit: int) -> list[Pair]:
    """The definition itself: count all pairs, glue the most frequent everywhere, count again."""
    merges: list[Pair] = []
    words = {chunk: list(chunk.encode()) for chunk in counts}
    while len(merges) < limit:
        frequency: Counter[Pair] = Counter()
        for chunk, ids in words.items():
            for pair in pairwise(ids):
                frequency[pair] += counts[chunk]
        if not frequency:
            break
        best = min(frequency, key=lambda pair: (-frequency[pair], pair))
        merges.append(best)
        words = {chunk: glued(ids, best, BYTES + len(merges) - 1) for chunk, ids in words.items()}
    return merges


def glued(ids: list[int], pair: Pair, new_id: int) -> list[int]:
    result: list[int] = []
    rest = list(ids)
    while rest:
        found = tuple(rest[:2]) == pair
        result.append(new_id if found else rest[0])
        rest = rest[2 if found else 1 :]
    return result


def merges_of_rustbpe(text: str, vocab_size: int) -> list[bytes]:
    other = rustbpe.Tokenizer()
    other.train_from_iterator([text], vocab_size - len(SPECIALS), pattern=PATTERN)
    return [bytes(token) for token, _ in sorted(other.get_mergeable_ranks(), key=lambda entry: entry[1])]


def merges_of_tokenizers(text: str, vocab_size: int) -> list[str]:
    """The engine's own trainer; the bytes are given in their order, so that ties break as ours do."""
    engine = tokenizers.Tokenizer(tokenizers.models.BPE())
    engine.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIALS), min_frequency=0, special_tokens=BYTE_CHARACTERS, show_progress=False
    )
    engine.train_from_iterator([text], trainer)
    return sorted(engine.get_vocab(), key=engine.get_vocab().__getitem__)


def tokens_of(tokenizer: ByteLevel) -> list[bytes]:
    return [tokenizer.token_bytes(token_id) for token_id in range(tokenizer.vocab_size - len(SPECIALS))]


def test_what_is_learned_is_what_recounting_after_each_merge_gives() -> None:
    counts = count_chunks([SAMPLE])
    assert learn_merges(counts, 10_000) == merges_by_recounting(counts, 10_000)


@settings(max_examples=300)
@given(st.lists(st.text(alphabet="ab é", max_size=40), max_size=5))
def test_what_is_learned_is_what_recounting_gives_for_any_small_text(texts: list[str]) -> None:
    counts = count_chunks(texts)
    assert learn_merges(counts, 30) == merges_by_recounting(counts, 30)


@settings(max_examples=100)
@given(st.text(alphabet="ab éß1", min_size=1, max_size=200))
def test_rustbpe_and_tokenizers_learn_the_same_from_any_small_text(text: str) -> None:
    ours = BPE.train([text], vocab_size=300)
    assert tokens_of(ours) == merges_of_rustbpe(text, 300)
    assert ours.names[: -len(SPECIALS)] == merges_of_tokenizers(text, 300)


@settings(max_examples=200)
@given(st.lists(any_text, max_size=4))
def test_the_engine_learns_what_the_readable_one_learns(texts: list[str]) -> None:
    assert FastBPE.train(texts, vocab_size=300).merges == BPE.train(texts, vocab_size=300).merges


def test_merges_are_learned_from_the_first_gigabytes_by_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_module, "LEARNED_BYTES", len(SAMPLE.encode()) + 20)
    merges = BPE.train([SAMPLE], vocab_size=300).merges
    for kind in (BPE, FastBPE):
        assert kind.train([SAMPLE, "zq zq " * 999], vocab_size=300).merges == merges


@pytest.mark.parametrize("text", ["shakespeare", "python_sources"])
def test_all_learn_and_encode_a_real_text_alike(text: str, request: pytest.FixtureRequest) -> None:
    text = request.getfixturevalue(text)
    readable, fast = (kind.train([text], vocab_size=VOCAB_SIZE) for kind in (BPE, FastBPE))
    assert readable.vocab_size == VOCAB_SIZE
    assert readable.merges == fast.merges
    assert (readable.digest, readable.kind) == (fast.digest, fast.kind)
    assert tokens_of(readable) == merges_of_rustbpe(text, VOCAB_SIZE)
    assert readable.names[: -len(SPECIALS)] == merges_of_tokenizers(text, VOCAB_SIZE)
    ids = readable.encode_array(text)
    assert np.array_equal(ids, fast.encode_array(text))
    assert ids.tolist() == tiktoken_of(readable).encode_ordinary(text)
    assert readable.decode(ids) == text
    part = text[:200_000]
    assert tokenizers.Tokenizer.from_str(fast.to_json()).encode(part).ids == readable.encode(part)


def test_learning_shakespeare_takes_a_moment(shakespeare: str) -> None:
    """The bar is five seconds on one core; it takes about half of one."""
    start = time.process_time()
    BPE.train([shakespeare], vocab_size=VOCAB_SIZE)
    assert time.process_time() - start < 5


def test_learning_does_not_see_where_the_pieces_were_cut(readable: BPE) -> None:
    assert BPE.train(list(SAMPLE), vocab_size=350).merges == readable.merges
    assert BPE.train([SAMPLE[:50], SAMPLE[50:]], vocab_size=350).digest == readable.digest


def test_what_a_row_glues_is_glued_at_its_place() -> None:
    row = Row([-1, 97, 98, 97, 98, -1])
    assert row.pairs_at(*range(5)) == [(1, (97, 98)), (2, (98, 97)), (3, (97, 98))]
    row.glue(1, 256)
    assert row.ids == [-1, 256, -1, 97, 98, -1]
    assert row.pairs_at(row.before[1], 1, row.before[3]) == [(1, (256, 97)), (1, (256, 97))]


# --- encoding -------------------------------------------------------------------------------------------------------


def tiktoken_of(tokenizer: ByteLevel) -> tiktoken.Encoding:
    ranks = {token: rank for rank, token in enumerate(tokens_of(tokenizer))}
    return tiktoken.Encoding("ours", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})


@settings(max_examples=500)
@given(st.lists(any_text, min_size=10, max_size=10))
def test_both_encode_five_thousand_texts_alike_and_they_come_back(
    readable: BPE, fast: FastBPE, texts: list[str]
) -> None:
    for text in texts:
        ids = readable.encode(text)
        assert ids == fast.encode(text)
        assert readable.decode(ids) == fast.decode(ids) == text
        assert max(ids, default=0) < readable.begin_id


@settings(max_examples=100)
@given(st.data())
def test_any_merges_give_the_same_ids_not_only_learned_ones(data: st.DataObject) -> None:
    merges: list[Pair] = []
    made = {bytes([byte]): byte for byte in range(BYTES)}
    tokens = [97, 98]
    for _ in range(data.draw(st.integers(0, 12))):
        pair = data.draw(st.tuples(st.sampled_from(tokens), st.sampled_from(tokens)))
        said = BPE(merges).token_bytes(pair[0]) + BPE(merges).token_bytes(pair[1])
        if said not in made and len(said) < 30:
            made[said] = BYTES + len(merges)
            tokens.append(made[said])
            merges.append(pair)
    text = data.draw(st.text(alphabet="ab", max_size=60))
    assert BPE(merges).encode(text) == FastBPE(merges).encode(text)


def test_merges_that_the_engine_would_take_otherwise_are_left_to_the_readable_one() -> None:
    """`a` and `bc` make abc; but ab comes before bc, so nothing is ever glued to abc, whose bytes the engine knows."""
    merges = [(97, 98), (98, 99), (97, 257)]
    assert BPE(merges).encode("abc") == FastBPE(merges).encode("abc") == [256, 99]
    assert FastBPE(merges)._engine is None
    assert FastBPE(merges[:2])._engine is not None


def test_an_engine_is_made_when_there_was_enough_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_module, "SHORT", 10)
    tokenizer = FastBPE([(104, 105)])
    for _ in range(4):
        assert tokenizer.encode("hi") == [256]
    assert "_engine" not in vars(tokenizer)
    assert tokenizer.encode("hi") == [256]
    assert "_engine" in vars(tokenizer)


def old_enough(text: str) -> bool:
    """Characters that every engine's Unicode tables know, and know alike."""
    return all(ord(character) < 0x500 for character in text)


@pytest.fixture(scope="module")
def outsiders(fast: FastBPE) -> tuple[tiktoken.Encoding, tokenizers.Tokenizer]:
    return tiktoken_of(fast), tokenizers.Tokenizer.from_str(fast.to_json())


@settings(max_examples=500)
@given(text=any_text.filter(old_enough))
def test_others_give_the_same_ids_with_our_merges(
    fast: FastBPE, outsiders: tuple[tiktoken.Encoding, tokenizers.Tokenizer], text: str
) -> None:
    by_ranks, library = outsiders
    assert fast.encode(text) == by_ranks.encode_ordinary(text) == library.encode(text).ids
    assert library.decode(fast.encode(text)) == text


def test_below_u0500_the_tables_of_all_engines_agree() -> None:
    letters = "".join(chr(point) for point in range(0x500))
    text = " ".join(f"a{letter}1{letter}.{letter}" for letter in letters)
    engine = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    offsets = [text[start:end] for _, (start, end) in engine.pre_tokenize_str(text)]
    assert offsets == split(text)


def test_the_outsider_shows_the_special_tokens_and_makes_none(fast: FastBPE) -> None:
    library = tokenizers.Tokenizer.from_str(fast.to_json())
    assert library.get_vocab_size() == fast.vocab_size
    assert [library.token_to_id(name) for name in SPECIALS] == [fast.begin_id, fast.end_id]
    for name in SPECIALS:
        assert max(library.encode(name * 3).ids) < fast.begin_id


# --- splitting ------------------------------------------------------------------------------------------------------


@given(any_text)
def test_the_chunks_are_the_text(text: str) -> None:
    assert "".join(split(text)) == text
    assert all(split(text))


def test_a_space_belongs_to_the_word_behind_it() -> None:
    assert split("Hello, world's  end 12\n") == ["Hello", ",", " world", "'s", " ", " end", " 12", "\n"]


def every_character(start: int, end: int) -> str:
    return "".join(chr(point) for point in range(start, end) if not 0xD800 <= point < 0xE000)


def test_the_pattern_of_the_engines_spells_out_all_letters_and_numbers() -> None:
    assert regex.search(r"[\p{L}\p{N}]", every_character(fast_module.ASSIGNED, 0x110000)) is None
    spelt = fast_module.pattern().replace(r"\z", r"\Z")
    assert r"\p" not in spelt
    for text in (every_character(0, fast_module.ASSIGNED), "".join(f"a{c} {c}1 " for c in every_character(0, 0x3000))):
        assert regex.findall(spelt, text) == split(text)


def test_the_engines_cut_where_each_alphabet_begins_and_ends_as_split_does() -> None:
    """Engines' own tables are of different age: there the newest letters are letters for some of them only."""
    borders: set[int] = set()
    for run in regex.finditer(r"\p{L}+|\p{N}+|\s+", every_character(0, fast_module.ASSIGNED)):
        first, last = ord(run[0][0]), ord(run[0][-1])
        borders |= {first - 1, first, last, last + 1}
    some = [chr(point) for point in sorted(borders) if point > 0 and not 0xD800 <= point < 0xE000]
    text = "".join(f"a{c}a1{c}1 {c}.{c}" for c in some)
    readable, fast = (kind.train([text], vocab_size=2000) for kind in (BPE, FastBPE))
    assert readable.merges == fast.merges
    assert np.array_equal(readable.encode_array(text), fast.encode_array(text))


@given(st.lists(st.text(alphabet="  \n\u2003x1.", max_size=60), max_size=3))
def test_long_runs_of_blanks_are_cut_for_the_engine_where_split_cuts(texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_module, "LONGEST_BLANK", 3)
        for text in texts:
            parts = list(fast_module._for_engine([text]))
            assert list(itertools.chain.from_iterable(map(split, parts))) == split(text)
        fast, readable = (kind.train(texts, vocab_size=270) for kind in (FastBPE, BPE))
        assert fast.merges == readable.merges
        assert all(fast.encode(text) == readable.encode(text) for text in texts)


@given(any_text)
def test_the_cuts_are_those_of_gpt2(text: str) -> None:
    as_published = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    assert split(text) == regex.findall(as_published, text)


# --- what people feed it --------------------------------------------------------------------------------------------

MILLION = 1_000_000
LETTERS = "".join(random.Random(1).choices(string.ascii_lowercase, k=MILLION))
HARD = {"equal": "a" * MILLION, "letters": LETTERS, "spaces": " " * MILLION, "NUL": "\0" * MILLION, "empty": ""}
HARD_TO_LEARN = HARD | {"spaces before a word": " " * 2 * MILLION + "x"}


@pytest.fixture(scope="module")
def for_hard_texts() -> list[Pair]:
    """Merges that apply to all of them, also to what they made themselves."""
    doubles: list[Pair] = []
    for byte in b"a \0":
        doubles.append((byte, byte))
        for _ in range(5):
            doubles.append((BYTES + len(doubles) - 1, BYTES + len(doubles) - 1))
    pairs = [(left, right) for left in b"abcdefgh" for right in b"ijklmnopqrst"]
    return doubles + pairs


def check_that_it_ends_soon(tokenizer: ByteLevel, text: str, longest_s: float) -> None:
    start = time.process_time()
    ids = tokenizer.encode_array(text)
    assert time.process_time() - start < longest_s
    assert b"".join(map(tokenizer.token_bytes, ids.tolist())) == text.encode()
    if len(set(text)) == 1:
        assert len(ids) == len(text) // 64 + (len(text) % 64).bit_count()  # doubled six times


@pytest.mark.parametrize("name", HARD)
def test_a_million_characters_without_a_cut_end_soon(name: str, for_hard_texts: list[Pair]) -> None:
    check_that_it_ends_soon(FastBPE(for_hard_texts), HARD[name], 4)  # it takes one second
    check_that_it_ends_soon(BPE(for_hard_texts), HARD[name][: MILLION // 10], 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", HARD)
def test_a_million_characters_without_a_cut_end_soon_in_plain_python(name: str, for_hard_texts: list[Pair]) -> None:
    check_that_it_ends_soon(BPE(for_hard_texts), HARD[name], 15)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BPE, FastBPE])
@pytest.mark.parametrize("name", HARD_TO_LEARN)
def test_a_million_characters_without_a_cut_are_learned_soon(name: str, kind: type[BPE]) -> None:
    text = HARD_TO_LEARN[name]
    start = time.process_time()
    tokenizer = kind.train([text], vocab_size=VOCAB_SIZE)
    assert time.process_time() - start < 30
    assert tokenizer.decode(tokenizer.encode_array(text)) == text


@pytest.mark.parametrize("kind", [BPE, FastBPE])
def test_half_a_character_is_refused_at_the_door(kind: type[BPE] | type[FastBPE]) -> None:
    for act in (kind([]).encode, lambda text: kind.train([text], vocab_size=300)):
        with pytest.raises(TokenizerError, match=r"lone surrogate U\+DC80\) at position 3"):
            act("abc\udc80d")


def test_an_example_that_fits_a_hand() -> None:
    for kind in (BPE, FastBPE):
        assert kind([(104, 105)]).encode("hi,hi h") == [256, 44, 256, 32, 104]


def test_a_chunk_is_glued_in_the_order_of_the_merges_and_from_the_left() -> None:
    assert apply_merges(b"aaa", {(97, 97): 0}) == [256, 97]
    assert apply_merges(b"abc", {(98, 99): 0, (97, 98): 1}) == [97, 256]
    assert apply_merges(b"", {(97, 97): 0}) == []


# --- the file and the special tokens --------------------------------------------------------------------------------


def test_ids_are_bytes_then_merges_then_specials(fast: FastBPE) -> None:
    assert [fast.token_bytes(byte) for byte in range(BYTES)] == [bytes([byte]) for byte in range(BYTES)]
    assert (fast.begin_id, fast.end_id) == (fast.vocab_size - 2, fast.vocab_size - 1)
    assert fast.vocab_size == BYTES + len(fast.merges) + 2


def test_special_tokens_say_nothing_and_have_a_name(fast: FastBPE) -> None:
    assert fast.decode([fast.begin_id, *fast.encode("Näin"), fast.end_id]) == "Näin"
    assert [fast.name_of(token_id) for token_id in (fast.begin_id, fast.end_id)] == list(SPECIALS)
    assert [fast.name_of(token_id) for token_id in (10, 97, 0xC3, 0)] == ["⏎", "a", r"\xc3", r"\x00"]


@pytest.mark.parametrize("wrong", [-1, 350, 2**40])
def test_an_id_outside_the_vocabulary_is_refused(fast: FastBPE, wrong: int) -> None:
    with pytest.raises(TokenizerError, match=f"token {wrong} is outside the vocabulary of 350 tokens"):
        fast.decode([0, wrong])


@pytest.mark.parametrize("merges", [[(97, 256)], [(97, -1)], [(97, 98), (97, 98)]])
@pytest.mark.parametrize("kind", [BPE, FastBPE])
def test_merges_that_cannot_be_are_refused(kind: type[ByteLevel], merges: list[Pair]) -> None:
    with pytest.raises(TokenizerError, match=r"come after it|each token is made once"):
        kind(merges)


def test_the_file_brings_the_same_tokenizer_back(readable: BPE, fast: FastBPE) -> None:
    again = parse_tokenizer(readable.to_json())
    assert isinstance(again, FastBPE)
    assert again.to_json() == readable.to_json() == fast.to_json()
    assert again.encode(SAMPLE) == readable.encode(SAMPLE)


def test_the_bytes_look_as_gpt2_wrote_them() -> None:
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    assert sorted(BYTE_CHARACTERS) == sorted(alphabet)
    assert [BYTE_CHARACTERS[byte] for byte in b" \n\0a\xad"] == ["Ġ", "Ċ", "Ā", "a", "Ń"]
