"""Tokens for context by reference: short, signed, expiring, and nobody else's."""
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.references import LENGTH, Token, Tokens

KEY, OTHER = b"k" * 32, b"o" * 32
EXPIRES = st.integers(0, 2**32 - 1)


@given(EXPIRES)
def test_what_is_made_is_read(expires):
    tokens = Tokens([KEY])
    text, token = tokens.make(expires)
    assert len(text) == LENGTH == 36
    assert tokens.read(text) == token
    assert token.expires == expires


@given(EXPIRES, st.integers(0, 27 * 8 - 1))
def test_no_bit_of_it_may_change(expires, bit):
    text, _ = Tokens([KEY]).make(expires)
    changed = int.from_bytes(base64.urlsafe_b64decode(text), "big") ^ 1 << bit
    assert Tokens([KEY]).read(base64.urlsafe_b64encode(changed.to_bytes(27, "big")).decode()) is None


@given(EXPIRES, st.integers(0, LENGTH - 1), st.characters())
def test_no_character_of_it_may_change(expires, at, character):
    text, token = Tokens([KEY]).make(expires)
    changed = f"{text[:at]}{character}{text[at + 1:]}"
    assert Tokens([KEY]).read(changed) == (token if changed == text else None)


@given(st.text(max_size=60) | st.text("AZaz09-_+/=", min_size=35, max_size=37))
def test_any_other_text_is_no_token(text):
    assert Tokens([KEY]).read(text) is None


@pytest.mark.parametrize("change", [
    lambda text: text[:-1], lambda text: f"{text}A", lambda text: f"{text}\n", lambda text: f"{text}=",
    lambda text: text.translate({ord("-"): "+", ord("_"): "/"}), lambda text: f" {text}"],
    ids=["shorter", "longer", "newline", "padding", "base64", "space"])
def test_it_has_one_spelling(change):
    """One with a character that base64 and base64url write in different ways."""
    tokens = Tokens([KEY])
    text = next(text for text, _ in iter(lambda: tokens.make(1), None) if set(text) & set("-_"))
    assert tokens.read(change(text)) is None


def test_each_is_another_one_and_its_name_does_not_open_it():
    tokens = Tokens([KEY])
    made = [tokens.make(1) for _ in range(1000)]
    assert len({text for text, _ in made}) == len({token.name for _, token in made}) == 1000
    assert not any(token.name in base64.urlsafe_b64decode(text)[11:].hex() for text, token in made)


@given(st.lists(st.sampled_from([KEY, OTHER]), min_size=1, max_size=4), st.lists(st.sampled_from([KEY, OTHER]),
                                                                                min_size=1, max_size=4))
def test_the_first_key_signs_and_all_are_accepted(signing, accepting):
    text, token = Tokens(signing).make(5)
    assert Tokens(accepting).read(text) == (token if signing[0] in accepting else None)


def test_a_key_is_needed():
    with pytest.raises(ValueError, match="a key"):
        Tokens([])


@pytest.mark.parametrize(("now", "over"), [(0, False), (99.9, False), (100, True), (1e9, True)])
def test_it_is_over_from_its_second_on(now, over):
    assert Token("", 100).over(now) == over
