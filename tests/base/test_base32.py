"""Words in base 32, against the standard library's encoding and against every way to spoil one."""
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.base.base32 import decode, encode

ALPHABET = "0123456789abcdefghijklmnopqrstuv"
WORDS = st.integers(0, (1 << 64) - 1)


@given(WORDS)
def test_is_rfc_4648_extended_hex(word: int) -> None:
    text = encode(word)
    assert text == base64.b32hexencode(word.to_bytes(8, "big")).decode().rstrip("=").lower()
    assert decode(text) == word


@given(WORDS, WORDS)
def test_texts_sort_as_words_do(one: int, other: int) -> None:
    assert (encode(one) < encode(other)) == (one < other)


@pytest.mark.parametrize("word", [0, 1, 15, 16, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_edges(word: int) -> None:
    assert decode(encode(word)) == word


@pytest.mark.parametrize("position", range(13))
def test_any_other_character_is_refused(position: int) -> None:
    text = encode(0)
    for character in map(chr, range(256)):
        spoiled = text[:position] + character + text[position + 1 :]
        if character in (ALPHABET[::2] if position == 12 else ALPHABET):
            assert encode(decode(spoiled)) == spoiled
        else:
            with pytest.raises(ValueError, match="not a 64-bit word"):
                decode(spoiled)


@pytest.mark.parametrize("text", ["", "0" * 12, "0" * 14, "0" * 12 + "="])
def test_any_other_length_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a 64-bit word"):
        decode(text)


@pytest.mark.parametrize("word", [-1, 1 << 64])
def test_more_than_64_bits_are_refused(word: int) -> None:
    with pytest.raises(OverflowError):
        encode(word)
