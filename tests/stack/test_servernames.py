"""Server names by number."""
import pytest

from sipcore.stack import servernames
from sipcore.stack.servernames import ServerNames


def test_a_name_keeps_its_number_whatever_its_case() -> None:
    names = ServerNames()
    first = names.number("pbx.example.com")
    assert first
    assert names.number("PBX.example.com.") == first
    assert names.name(first) == "pbx.example.com"
    assert names.number("other.example.com") != first
    assert names.number("") == 0
    assert names.name(0) == ""
    assert names.name(99) is None


def test_a_forgotten_name_gets_another_number_and_never_one_that_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servernames, "KEPT", 2)
    names = ServerNames()
    a, b = names.number("a.example"), names.number("b.example")
    assert names.number("a.example") == a
    c = names.number("c.example")
    assert names.name(b) is None
    assert names.name(a) == "a.example"
    assert names.number("b.example") not in (a, b, c)
