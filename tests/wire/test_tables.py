"""The one table of header names, methods and phrases, and the lookup that finds them."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.wire.tables import HEADERS, METHODS, REASONS, canonical_name, lookup_header, phrase

NAMES = [name for name, _, _ in HEADERS[1:]]


@pytest.mark.parametrize("entry", HEADERS[1:], ids=lambda entry: entry[0])
def test_each_header_is_found_in_every_spelling(entry):
    name, compact, _ = entry
    for spelling in (name, name.lower(), name.upper(), name.swapcase(), *filter(None, (compact, compact.upper()))):
        assert lookup_header(spelling.encode()) == entry
        assert canonical_name(spelling) == name


def test_no_name_and_no_short_form_stands_twice():
    shorts = [compact for _, compact, _ in HEADERS if compact]
    assert len(set(shorts)) == len(shorts)
    assert len({name.lower() for name in NAMES}) == len(NAMES)
    assert not {name.lower() for name in NAMES} & set(shorts)


@given(st.binary(max_size=40))
def test_nothing_else_is_found(name):
    known = {text.lower().encode() for entry in HEADERS[1:] for text in entry[:2] if text}
    assert (lookup_header(name) != HEADERS[0]) == (name.lower() in known)


@given(st.sampled_from(NAMES), st.data())
def test_a_name_with_one_letter_changed_is_another(name, data):
    place = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(st.characters(codec="ascii"))
    other = name[:place] + letter + name[place + 1:]
    expected = next((entry for entry in HEADERS if entry[0] and entry[0].lower() == other.lower()), HEADERS[0])
    assert lookup_header(other.encode()) == expected


def test_canonical_name_leaves_unknown_names_alone():
    for name in ("X-Mine", "x-mine", "", "q", "Via ", "\u00dc", "\udcff"):
        assert canonical_name(name) == name


def test_phrases():
    for status, text in REASONS.items():
        assert phrase(status) == text
    assert (phrase(299), phrase(499), phrase(699)) == ("OK", "Bad Request", "Busy Everywhere")
    assert phrase(150) == "Session Progress"
    assert phrase(0) == phrase(99) == phrase(700) == phrase(4_000_000_000) == "Server Internal Error"


def test_methods():
    assert METHODS[0] == ""
    assert len(set(METHODS)) == len(METHODS)
    assert all(method.isupper() for method in METHODS[1:])
