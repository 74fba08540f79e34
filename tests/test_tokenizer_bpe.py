"""A BPE tokenizer in use: made from a text, fed in pieces, read from a file that may be anybody's, ending a sample."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import stirred
from glassgpt.config import ModelConfig, SamplingConfig
from glassgpt.errors import TokenizerError
from glassgpt.model.gpt import GPT
from glassgpt.sampling.generate import write
from glassgpt.text import split
from glassgpt.text.base import Tokenizer
from glassgpt.text.bytelevel import BYTES, SPECIALS
from glassgpt.text.chars import CharTokenizer
from glassgpt.text.fast import FastBPE
from glassgpt.text.learn import learn_tokenizer
from glassgpt.text.store import load_tokenizer, parse_tokenizer, save_tokenizer

TEXT = "The owl's sea, the sea's owl; they'll see 1234 owls.\n\n  «Näin», sanoi pöllö.\t日本語 \u00a0\u2003x🦉🦉 aaaa  "
BPE_OF_TEXT = FastBPE.train([TEXT], vocab_size=300)
CHARS_OF_TEXT = CharTokenizer.train([TEXT])
CONTENT: dict[str, Any] = json.loads(FastBPE([(104, 105), (256, 33)]).to_json())
any_text = st.text(alphabet=TEXT, max_size=80) | st.text(max_size=40)


def joined(tokenizer: Tokenizer, pieces: Iterable[str], **more: Any) -> list[int]:
    return [token_id for ids in tokenizer.encode_chunks(pieces, **more) for token_id in ids.tolist()]


# --- a text in pieces -----------------------------------------------------------------------------------------------


@settings(max_examples=1000)
@given(any_text, st.lists(st.integers(1, 30), max_size=60))
def test_where_a_text_is_cut_into_pieces_changes_no_token(text: str, lengths: list[int]) -> None:
    pieces, rest = [], text
    for length in lengths:
        pieces.append(rest[:length])
        rest = rest[length:]
    pieces = [piece for piece in (*pieces, rest) if piece]
    assert joined(BPE_OF_TEXT, pieces, starts_document=False) == BPE_OF_TEXT.encode(text)
    assert split.count_chunks(pieces) == split.count_chunks([text] if text else [])


@given(st.lists(st.lists(st.text(alphabet=TEXT, min_size=1, max_size=20), max_size=4), max_size=4))
def test_each_document_stands_between_begin_and_end(documents: list[list[str]]) -> None:
    pieces = [piece for document in documents for piece in (*document, "")]
    expected: list[int] = []
    for document in documents:
        if document:
            expected += [BPE_OF_TEXT.begin_id, *BPE_OF_TEXT.encode("".join(document)), BPE_OF_TEXT.end_id]
    assert joined(BPE_OF_TEXT, pieces) == expected
    text = "".join(pieces)
    assert BPE_OF_TEXT.decode(expected) == text
    assert joined(CHARS_OF_TEXT, pieces) == CHARS_OF_TEXT.encode(text)


def test_a_text_that_breaks_off_has_no_end_and_one_that_goes_on_no_beginning() -> None:
    begin, end = BPE_OF_TEXT.begin_id, BPE_OF_TEXT.end_id
    assert joined(BPE_OF_TEXT, ["x"]) == [begin, 120]
    assert joined(BPE_OF_TEXT, ["x", "", "y"], starts_document=False) == [120, end, begin, 121]
    assert joined(BPE_OF_TEXT, [""], starts_document=False) == [end]
    assert joined(BPE_OF_TEXT, []) == joined(BPE_OF_TEXT, ["", ""]) == []


def test_memory_stays_bounded_where_no_place_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "LONGEST_REST", 100)
    pieces = list(split.whole_pieces(["a" * 7] * 100))
    assert "".join(pieces) == "a" * 700
    assert max(map(len, pieces)) < 110


def test_a_piece_ends_before_a_blank_that_follows_something() -> None:
    assert list(split.whole_pieces(["one two th", "ree", "  four\n", "\n"])) == ["one two", " three  four", "\n\n"]


# --- made from a text -----------------------------------------------------------------------------------------------


def test_bpe_has_exactly_the_size_that_was_asked_for() -> None:
    tokenizer = learn_tokenizer([TEXT], kind="bpe", vocab_size=290)
    assert (tokenizer.kind, tokenizer.vocab_size) == ("bpe", 290)
    assert learn_tokenizer([TEXT * 2], kind="bpe", vocab_size=258).encode("hi") == list(b"hi")


def test_too_little_text_is_said_with_the_size_that_works() -> None:
    with pytest.raises(TokenizerError) as caught:
        learn_tokenizer(["owls see owls"], kind="bpe")
    assert str(caught.value) == (
        "the text is too small for vocab_size=1000: it has pairs for 265 tokens; "
        "choose --vocab-size 265 or less, or more text"
    )
    assert learn_tokenizer(["owls see owls"], kind="bpe", vocab_size=265).vocab_size == 265


@pytest.mark.parametrize("vocab_size", [257, 0, -1])
def test_a_vocabulary_without_all_bytes_is_refused(vocab_size: int) -> None:
    with pytest.raises(TokenizerError, match=f"vocab_size={vocab_size} is too small for BPE.*--vocab-size 258"):
        learn_tokenizer([TEXT], kind="bpe", vocab_size=vocab_size)


def test_characters_without_a_size_are_all_of_the_text() -> None:
    assert learn_tokenizer(["ba", "", "c"], kind="char").digest == CharTokenizer("abc").digest
    assert learn_tokenizer(["ba", "", "c"], kind="char", vocab_size=3).digest == CharTokenizer("abc").digest


def test_of_too_many_characters_the_most_frequent_stay_and_one_stands_for_the_others() -> None:
    tokenizer = learn_tokenizer(["bbb", "aa", "ddccx"], kind="char", vocab_size=4, unknown="replace")
    assert isinstance(tokenizer, CharTokenizer)
    assert tokenizer.characters == "abc\ufffd"  # of a, c and d, which come twice each, the first two
    assert tokenizer.decode(tokenizer.encode("abxd")) == "ab\ufffd\ufffd"
    again = learn_tokenizer(["\ufffd\ufffdaab"], kind="char", vocab_size=2, unknown="skip")
    assert again.decode(again.encode("ab\ufffd")) == "a\ufffd"


def test_cutting_characters_is_a_choice() -> None:
    with pytest.raises(TokenizerError, match=r"the text has 4 different characters.*--unknown replace.*size 4$"):
        learn_tokenizer(["abcd"], kind="char", vocab_size=3)
    with pytest.raises(TokenizerError, match="at least one character"):
        learn_tokenizer(["abcd"], kind="char", vocab_size=0)


# --- read from a file -----------------------------------------------------------------------------------------------


def test_a_saved_tokenizer_comes_back_the_same(tmp_path: Any) -> None:
    for place in ("a.json", "b.json"):
        save_tokenizer(BPE_OF_TEXT, tmp_path / place)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    again = load_tokenizer(tmp_path / "a.json")
    assert (again.digest, again.kind) == (BPE_OF_TEXT.digest, "bpe")
    assert again.encode(TEXT) == BPE_OF_TEXT.encode(TEXT)


def changed(**parts: Any) -> str:
    return json.dumps(CONTENT | parts)


def model(**parts: Any) -> str:
    return changed(model=CONTENT["model"] | parts)


def with_vocabulary(change: Callable[[dict[str, Any]], Any]) -> str:
    vocabulary = dict(CONTENT["model"]["vocab"])
    change(vocabulary)
    return model(vocab=vocabulary)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(added_tokens=[{"id": 0, "content": "a"}]), "its added_tokens is a list"),
        (changed(normalizer={"type": "NFC"}), "its normalizer is a dict"),
        (changed(pre_tokenizer=None), "its pre_tokenizer is None"),
        (changed(decoder={"type": "Fuse"}), "its decoder is a dict"),
        (model(byte_fallback=True), "its byte_fallback is True"),
        (model(dropout=0.5), "its dropout is 0.5"),
        (model(vocab=None), "vocabulary is missing or empty"),
        (model(vocab={"a": 0}), "its first 256 tokens are not the bytes in their order"),
        (with_vocabulary(lambda vocab: vocab.update({"a": 98, "b": 97})), "not the bytes in their order"),
        (with_vocabulary(lambda vocab: vocab.pop("hi")), "ids are not the numbers from 0 to 258, once each"),
        (with_vocabulary(lambda vocab: vocab.update({"hi": 255})), "ids are not the numbers from 0 to 259"),
        (with_vocabulary(lambda vocab: vocab.update({"hi": 1 << 70})), "ids are not the numbers from 0 to 259"),
        (with_vocabulary(lambda vocab: vocab.update({"hi": 256.0})), "the id of 'hi' is 256.0, not a whole number"),
        (with_vocabulary(lambda vocab: vocab.update({"hi": [[]]})), "the id of 'hi' is a list"),
        (with_vocabulary(lambda vocab: vocab.update({"<|end|>": 258, "<|begin|>": 259})), "its last tokens are not"),
        (with_vocabulary(lambda vocab: vocab.update({"more": 260})), "its last tokens are not <|begin|> and <|end|>"),
        (model(merges=None), "one merge for each of its 2 tokens"),
        (model(merges=[]), "one merge for each of its 2 tokens"),
        (model(merges=[["h", "i"]] * 3), "one merge for each of its 2 tokens"),
        (model(merges=[["h", "i"], ["h", "i"]]), "merge 1 does not make token 257, 'hi!', out of earlier ones"),
        (model(merges=[["hi", "!"], ["h", "i"]]), "merge 0 does not make token 256, 'hi'"),
        (model(merges=[["h", "i"], ["", "hi!"]]), "merge 1 does not make token 257"),
        (model(merges=[["h", "i"], ["h", "\udc80"]]), "merge 1 does not make token 257"),
        (model(merges=["h i", "hi !"]), "its merge 0 is 'h i', not two tokens"),
        (model(merges=[["h", "i"], ["hi", ["!"]]]), "its merge 1 is a list, not two tokens"),
    ],
)
def test_a_file_that_is_no_bpe_of_ours_says_what_is_missing(content: str, message: str) -> None:
    with pytest.raises(TokenizerError) as caught:
        parse_tokenizer(content)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_special_token_is_part_of_no_merge() -> None:
    name = SPECIALS[0] + "!"
    vocabulary = dict(CONTENT["model"]["vocab"]) | {name: 257}
    del vocabulary["hi!"]
    with pytest.raises(TokenizerError, match="merge 1 does not make token 257"):
        parse_tokenizer(model(vocab=vocabulary, merges=[["h", "i"], [SPECIALS[0], "!"]]))


def test_a_vocabulary_beyond_measure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glassgpt.text.store.LARGEST_VOCABULARY", BYTES + 3)
    with pytest.raises(TokenizerError, match="has 260 tokens; we read at most 259"):
        parse_tokenizer(changed())


# --- the end of a sample --------------------------------------------------------------------------------------------


def test_a_sample_ends_where_the_model_writes_the_end_token() -> None:
    tokenizer = FastBPE([(104, 105)])
    network = GPT(
        ModelConfig(vocab_size=tokenizer.vocab_size, d_model=16, n_layers=1, n_heads=2, max_seq_len=32), seed=1
    )
    stirred(network, by=0.2)
    sampling = SamplingConfig(max_new_tokens=60, num_samples=12, temperature=2.0)
    events = list(write(network.eval(), tokenizer, "hi", sampling))
    ended = 0
    for sample in range(sampling.num_samples):
        own = [event for event in events if event.sample == sample]
        ids = [event.token_id for event in own]
        if tokenizer.end_id in ids:
            ended += 1
            assert ids.index(tokenizer.end_id) == len(ids) - 1
            assert own[-1].finished == "stop"
        else:
            assert (len(ids), own[-1].finished) == (60, "length")
        assert "".join(event.text for event in own) == tokenizer.decode(ids)  # the end token shows nothing
    assert 0 < ended < sampling.num_samples
