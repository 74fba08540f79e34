import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library

from glassgpt.errors import TokenizerError, UnknownCharacterError
from glassgpt.text.base import StreamDecoder, code_points, id_dtype
from glassgpt.text.chars import FEW, CharTokenizer, look_up
from glassgpt.text.store import load_tokenizer, parse_tokenizer, save_tokenizer

# Of each trouble some: controls, line ends of all kinds, combining marks, no-break and zero-width spaces, writing from
# right to left, a byte order mark, the first and last characters of two, three and four bytes, an emoji of several.
TROUBLE = (
    "\0\t\n\r \"'\\abcXYZ019.,<>unk[]\x7f\x80é\u0301\u0085\u00a0\u07ff\u0800\u200b\u200d\u2028\ufeff\ufffd\uffff"
    "\U00010000😀👩\U0010ffffمرحبا日本語"
)
OURS = CharTokenizer.train([TROUBLE])
LIBRARY = Library.from_str(OURS.to_json())


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=10, max_size=10))
def test_ten_thousand_texts_come_back(texts: list[str]) -> None:
    tokenizer = CharTokenizer.train([*texts, "x"])
    for text in texts:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert [tokenizer.characters[token_id] for token_id in ids] == list(text)  # the slow truth of the table


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet=TROUBLE, max_size=60))
def test_the_tokenizers_library_reads_our_file_and_agrees(text: str) -> None:
    ids = LIBRARY.encode(text).ids
    assert ids == OURS.encode(text)
    assert LIBRARY.decode(ids) == text


def test_the_tokenizers_library_agrees_on_a_file_of_shakespeare(shakespeare: str, tmp_path: Path) -> None:
    ours = CharTokenizer.train([shakespeare])
    save_tokenizer(ours, tmp_path / "tokenizer.json")
    library = Library.from_file(str(tmp_path / "tokenizer.json"))
    assert ours.vocab_size == library.get_vocab_size() == 65
    assert library.encode(shakespeare[:20_000]).ids == ours.encode(shakespeare[:20_000])


def test_a_character_that_the_library_does_not_know_is_an_error_there_too() -> None:
    with pytest.raises(Exception, match="WordLevel error"):
        LIBRARY.encode("abcß")


@given(st.text(alphabet=TROUBLE, min_size=1))
def test_the_file_brings_the_same_tokenizer_back(text: str) -> None:
    tokenizer = CharTokenizer.train([text])
    again = parse_tokenizer(tokenizer.to_json())
    assert again.to_json() == tokenizer.to_json()
    assert again.digest == tokenizer.digest
    assert again.encode(text) == tokenizer.encode(text)


def test_training_sees_every_chunk_and_sorts() -> None:
    assert CharTokenizer.train(["cab", "", "z\n", "é😀c"]).characters == "\nabczé😀"
    assert CharTokenizer.train(["cab"]).digest == CharTokenizer.train(["b", "ca"]).digest
    assert CharTokenizer.train(["cab"]).digest != CharTokenizer.train(["ab"]).digest


def test_ids_are_as_narrow_as_the_vocabulary_allows() -> None:
    assert id_dtype(1 << 16) == np.dtype("<u2")
    assert id_dtype((1 << 16) + 1) == np.dtype("<u4")
    many = CharTokenizer(chr(point) for point in range(0x20000) if not 0xD800 <= point < 0xE000)
    assert many.encode_array("a\U0001ffff").dtype == np.dtype("<u4")
    assert many.decode(many.encode_array("a\U0001ffff")) == "a\U0001ffff"
    for size in (0xFFFF, 0x10000):  # as many as two bytes can count, and one less
        full = CharTokenizer(many.characters[:size])
        assert full.encode_array(full.characters).dtype == np.dtype("<u2")
        assert full.encode(full.characters) == list(range(size))
        with pytest.raises(UnknownCharacterError):
            full.encode("\U0001ffff")


def test_looking_up_is_what_numpy_does() -> None:
    points = np.random.default_rng(1).integers(0, 0x110000, 3 * FEW + 1).astype("<u4")
    table = np.arange(0x110000)[::-1].astype("<u4")
    np.testing.assert_array_equal(look_up(table, points), table[points])


def test_an_unknown_character_is_named_with_its_place() -> None:
    tokenizer = CharTokenizer("abc")
    with pytest.raises(UnknownCharacterError, match=r"character 'ß' \(U\+00DF\) at position 4 ") as caught:
        tokenizer.encode("abcaßaß")
    assert (caught.value.character, caught.value.position) == ("ß", 4)


@pytest.mark.parametrize(
    ("characters", "unknown", "text"),
    [
        ("abc?", "skip", "ab"),
        ("abc? \ufffd", "replace", "a\ufffdb\ufffd"),
        ("abc ?", "replace", "a?b?"),
        ("abc ", "replace", "a b "),
    ],
)
def test_unknown_characters_are_left_out_or_replaced_on_wish(characters: str, unknown: Any, text: str) -> None:
    tokenizer = CharTokenizer(characters, unknown=unknown)
    assert tokenizer.decode(tokenizer.encode("aßb😀")) == text
    assert tokenizer.digest == CharTokenizer(characters).digest  # a wish of the reader, none of the vocabulary


def test_replacing_needs_something_to_replace_with() -> None:
    with pytest.raises(TokenizerError, match="choose --unknown skip"):
        CharTokenizer("abc", unknown="replace")


@pytest.mark.parametrize("encode", [OURS.encode, OURS.encode_array, lambda text: CharTokenizer.train([text])])
def test_half_a_character_is_refused_at_the_door(encode: Any) -> None:
    with pytest.raises(TokenizerError, match=r"lone surrogate U\+DC80\) at position 3"):
        encode("abc\udc80d")


@pytest.mark.parametrize("characters", ["", "aba"])
def test_a_vocabulary_has_characters_and_each_once(characters: str) -> None:
    with pytest.raises(TokenizerError, match="at least one character, and none of them twice"):
        CharTokenizer(characters)


@pytest.mark.parametrize("wrong", [-1, 3, 2**40])
def test_an_id_outside_the_vocabulary_is_refused(wrong: int) -> None:
    tokenizer = CharTokenizer("abc")
    for decode in (tokenizer.decode, lambda ids: tokenizer.stream().push(ids[-1])):
        with pytest.raises(TokenizerError, match=f"token {wrong} is outside the vocabulary of 3 tokens"):
            decode([0, wrong])


@given(st.text(alphabet=TROUBLE))
def test_a_stream_of_characters_says_each_at_once(text: str) -> None:
    stream = OURS.stream()
    assert [stream.push(token_id) for token_id in OURS.encode(text)] == list(text)
    assert stream.finish() == ""


def _streamed(pieces: Sequence[bytes]) -> list[str]:
    decoder = StreamDecoder(lambda token_id: pieces[token_id])
    return [decoder.push(token_id) for token_id in range(len(pieces))] + [decoder.finish()]


@given(st.text(max_size=10), st.lists(st.integers(0, 40)))
def test_a_stream_never_says_half_a_character(text: str, cuts: list[int]) -> None:
    content = text.encode("utf-8")
    places = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    said = _streamed([content[start:end] for start, end in pairwise(places)])
    assert "".join(said) == text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in said)


@given(st.lists(st.binary(max_size=4)))
def test_a_stream_of_any_bytes_says_what_decoding_them_together_does(pieces: list[bytes]) -> None:
    assert "".join(_streamed(pieces)) == b"".join(pieces).decode("utf-8", "replace")


def test_a_character_appears_with_its_last_byte() -> None:
    assert _streamed([b"a\xf0", b"\x9f", b"\x98", b"\x80b", b"\xe2\x82"]) == ["a", "", "", "😀b", "", "\ufffd"]


def _changed(**parts: Any) -> str:
    return json.dumps(json.loads(CharTokenizer("ab").to_json()) | parts)


def _with_vocabulary(vocabulary: Any) -> str:
    return _changed(model={"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON at line 1"),
        ("hello", "not JSON at line 1"),
        ("[]", "outermost value is not an object"),
        ("{}", "its model is None"),
        ("[" * 200_000, "nested too deeply"),
        ('{"model": {"type": ' + "[" * 900 + "]" * 900 + "}}", "nested too deeply"),
        ('{"model": ' + "9" * 5000 + "}", "a number that is too long"),
        (_changed(model={"type": "Unigram"}), "its model is 'Unigram'"),
        (_changed(pre_tokenizer={"type": "Whitespace"}), "does not cut the text into single characters"),
        (_changed(normalizer={"type": "Lowercase"}), "changes the text"),
        (_changed(added_tokens=[{"id": 0, "content": "a"}]), "adds tokens of its own"),
        (_with_vocabulary({}), "vocabulary is missing or empty"),
        (_with_vocabulary(["a"]), "vocabulary is missing or empty"),
        (_with_vocabulary({"a": 0, "b": 2}), "its 2 ids are not the numbers from 0 to 1"),
        (_with_vocabulary({"a": 0, "b": 0}), "its 2 ids are not the numbers from 0 to 1"),
        (_with_vocabulary({"a": 0, "bc": 1}), "its token 'bc' is not a single character"),
        (_with_vocabulary({"a": False, "b": True}), "the id of 'a' is False, not a whole number"),
        (_with_vocabulary({"a": "0"}), "the id of 'a' is '0', not a whole number"),
        (_with_vocabulary({"\udc80": 0}), "lone surrogate"),
    ],
)
def test_a_file_that_is_no_tokenizer_says_so_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TokenizerError) as caught:
        load_tokenizer(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"cannot read the tokenizer .*No such file"):
        load_tokenizer(tmp_path / "missing.json")
    (tmp_path / "bytes.json").write_bytes(b'{"a\xff')
    with pytest.raises(TokenizerError, match="not UTF-8 at byte 3"):
        load_tokenizer(tmp_path / "bytes.json")


@pytest.fixture(scope="module")
def shakespeare() -> str:
    path = Path(__file__).resolve().parents[2] / "shared" / "data" / "tinyshakespeare.txt"
    if not path.is_file():
        pytest.skip("tinyshakespeare.txt does not lie beside this repository")
    return path.read_text(encoding="utf-8")


def test_shakespeare_comes_back(shakespeare: str) -> None:
    tokenizer = CharTokenizer.train([shakespeare])
    assert tokenizer.characters == "".join(sorted(set(shakespeare)))
    assert tokenizer.decode(tokenizer.encode_array(shakespeare)) == shakespeare


def test_code_points_are_those_of_python() -> None:
    for text in ("", "plain", TROUBLE):
        assert code_points(text).tolist() == [ord(character) for character in text]
