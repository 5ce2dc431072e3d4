"""What a model's text comes to: nothing but the text of a value, whatever it answered."""
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.answers import cut, one_line, settle

INTENTS = ("Make a claim", "cancel policy", "Straße")

hostile = st.text(st.characters() | st.sampled_from("\r\n\0\x1b\u2028\u202e\ud800: "), max_size=200)


@pytest.mark.parametrize(("answer", "value"), [
    ("make a claim", "Make a claim"),
    ("MAKE A CLAIM", "Make a claim"),
    (' "Make a claim." \n', "Make a claim"),
    ("\u201cmake a  claim\u201d", "Make a claim"),
    ("STRASSE", "Straße"),
    ("<think>The caller says\nclaim</think>\n\nmake a claim", "Make a claim"),
])
def test_an_allowed_answer_gets_the_listed_spelling(answer, value):
    assert settle(answer, INTENTS, 256) == (value, "")


@pytest.mark.parametrize(("answer", "why"), [
    ("make a claim and cancel policy", "not an allowed answer"),
    ("make a claim\r\nX-Admin: yes", "not an allowed answer"),
    ("The intent is: make a claim", "not an allowed answer"),
    ("make", "not an allowed answer"),
    ("", "an empty answer"),
    (" \r\n\0", "an empty answer"),
    ("none.", "the conversation does not say"),
])
def test_any_other_is_none(answer, why):
    assert settle(answer, INTENTS, 256) == ("", why)


def test_none_may_be_an_allowed_answer():
    assert settle("NONE", ("some", "none"), 256) == ("none", "")


def test_an_allowed_answer_is_never_cut():
    assert settle("make a claim", INTENTS, 5) == ("", "the answer is too long")


@pytest.mark.parametrize(("text", "line"), [
    ("a\r\nVia: x", "a Via: x"),
    ("a\tb\x0bc\x85d\u2028e\u2029f\x7fg\x00h", "a b c d e f g h"),
    ("\u202eevil\u202c \u200bx\ufeff", "evil x"),
    ("\x1b[31mred", "[31mred"),
    ("a\ud800b", "ab"),
    ("क्\u200dष", "क्\u200dष"),
    ("  Zoë  Łukasz\u00a0 你好 🙂 ", "Zoë Łukasz 你好 🙂"),
])
def test_one_line(text, line):
    assert one_line(text) == line


@pytest.mark.parametrize(("limit", "value"), [(1, "Z"), (2, "Zo"), (3, "Zo"), (4, "Zoë"), (5, "Zoë"), (8, "Zoë"),
                                             (9, "Zoë 🙂"), (10, "Zoë 🙂!"), (256, "Zoë 🙂!")])
def test_a_value_is_cut_between_characters(limit, value):
    assert settle("Zoë 🙂!", (), limit) == (value, "")


def test_a_limit_that_no_character_fits_in_leaves_none():
    assert settle("🙂", (), 3) == ("", "an empty answer")


@given(hostile, st.integers(1, 300))
def test_a_value_is_always_one_clean_line_within_its_limit(answer, limit):
    value, why = settle(answer, (), limit)
    assert bool(value) != bool(why)
    assert len(value.encode()) <= limit
    assert value == value.strip()
    assert not {unicodedata.category(character) for character in value} & {"Cc", "Cs", "Zl", "Zp"}
    assert one_line(value) == value


@given(hostile)
def test_with_allowed_answers_nothing_else_passes(answer):
    assert settle(answer, INTENTS, 256).value in ("", *INTENTS)


@given(hostile, st.integers(0, 300))
def test_cut_is_a_beginning(text, limit):
    kept = "".join(character for character in text if not 0xD800 <= ord(character) < 0xE000)
    short = cut(text, limit)
    assert kept.startswith(short)
    assert len(short.encode()) <= limit
    assert short == kept or len(kept[: len(short) + 1].encode()) > limit
