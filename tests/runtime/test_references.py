"""Context by reference in a worker: tokens with a bounded number and size of what they stand for, and word of what is
passed over."""
from typing import Any

import pytest

from proxy.config import Reference
from proxy.events import Context
from proxy.policy.references import Token, Tokens
from proxy.references import AWAY, FULL, QUIET_SECONDS, UNSIGNED, References

KEY = b"k" * 32
HEADERS = {"X-A": "a" * 7}


class Bench:
    """The other end, the log and the clock."""

    def __init__(self, keys: tuple[bytes, ...] = (KEY,), **settings: Any):
        self.now = 1000.0
        self.taken: list[Context] = []
        self.takes = True
        self.lines: list[tuple[str, str, dict]] = []
        self.references = References(self._take, self._log, lambda: self.now)
        self.settings = Reference(**settings)
        self.references.configure(self.settings, keys)

    def _take(self, context: Context) -> bool:
        if self.takes:
            self.taken.append(context)
        return self.takes

    def _log(self, level: str, event: str, **fields: object) -> None:
        self.lines.append((level, event, fields))

    def keep(self, headers: dict[str, str] | None = None) -> str:
        made = self.references.make()
        assert not isinstance(made, str)
        return self.references.keep(made[1], HEADERS if headers is None else headers)


def test_a_token_and_what_it_stands_for():
    bench = Bench(seconds=60)
    made = bench.references.make()
    assert not isinstance(made, str)
    text, token = made
    assert Tokens([KEY]).read(text) == token == Token(token.name, 1060)
    assert bench.taken == []
    assert bench.references.keep(token, HEADERS) == ""
    assert bench.taken == [Context(name=token.name, expires=1060, headers=HEADERS)]
    # What opens it stays with whoever gets the request.
    assert text not in str(bench.taken)


def test_without_a_key_there_is_none():
    assert Bench(keys=()).references.make() == UNSIGNED


@pytest.mark.parametrize(("settings", "fit"), [({"most": 3}, 3), ({"most_bytes": 65_536}, 65_536 // 1010)])
def test_there_is_a_bound_and_room_again_when_some_are_over(settings, fit):
    bench = Bench(seconds=60, **settings)
    long = {"X-A": "a" * 1000, "X-B": "1234"}
    for number in range(fit):
        assert bench.keep(long) == ""
        bench.now = 1001 if number == 0 else bench.now
    assert bench.keep(long) == FULL
    assert len(bench.taken) == fit
    bench.now = 1060
    assert bench.keep(long) == ""
    assert bench.keep(long) == FULL


def test_what_the_services_process_does_not_take_takes_no_room():
    bench = Bench(most=1)
    bench.takes = False
    assert [bench.keep() for _ in range(3)] == [AWAY] * 3
    bench.takes = True
    assert [bench.keep() for _ in range(2)] == ["", FULL]


def test_what_is_passed_over_is_said_now_and_then():
    bench = Bench()
    bench.takes = False
    for _ in range(100):
        bench.keep()
    (first,) = bench.lines
    assert first == ("warning", "context not sent by reference", {"reason": AWAY, "requests": 1, "kept": 0})
    bench.now += QUIET_SECONDS
    bench.keep()
    assert bench.lines[1][2]["requests"] == 100


def test_another_configuration_signs_with_another_key():
    bench = Bench()
    bench.references.configure(bench.settings, [b"n" * 32, KEY])
    made = bench.references.make()
    assert not isinstance(made, str)
    assert Tokens([b"n" * 32]).read(made[0]) == made[1]
