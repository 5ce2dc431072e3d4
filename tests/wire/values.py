"""Grammar of single values as hypothesis strategies, and fuzz input, shared by the tests of the value parsers."""
import string
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from sipcore.wire.fault import WireFault

TOKEN = string.ascii_letters + string.digits + "-.!%*_+`'~"
tokens = st.text(TOKEN, min_size=1, max_size=12)
plain = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
ports = st.integers(1, 65535)
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
names = st.builds(lambda head, top: ".".join([*head, top]), st.lists(labels, max_size=3),
                  st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True))
hosts = st.one_of(names, st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))
lws = st.sampled_from(["", "", " ", "\t", "  ", "\r\n ", " \r\n\t"])
quoted = plain.map(lambda text: '"' + "".join(
    f"\\{c}" if c in '"\\' else c for c in text if c == "\t" or (c >= " " and c != "\x7f")) + '"')


def bracketed(host: str) -> str:
    """host as it stands in a URI or Via."""
    return f"[{host}]" if ":" in host else host


def mutated(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Seeds with a few bytes replaced, deleted, inserted or doubled, and arbitrary bytes."""
    odd = st.one_of(st.binary(min_size=1, max_size=3), st.sampled_from([
        b'"', b"\\", b"<", b">", b";", b",", b"=", b"%", b"%0", b":", b"@", b"[", b"]", b"\r\n", b"\r\n ", b"\0", b" ",
    ]))
    change = st.tuples(st.integers(0, 200), st.integers(0, 3), odd)

    def apply(seed: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
        for place, length, new in changes:
            place %= len(seed) + 1
            seed = seed[:place] + new + seed[place + length:]
        return seed

    return st.one_of(st.binary(max_size=80), st.builds(apply, st.sampled_from(seeds), st.lists(change, max_size=4)))


def parsed(parse: Callable[[bytes], Any], value: bytes) -> Any:
    """What parse makes of value, or None where it refuses it with a fault code; anything else is a failure."""
    try:
        return parse(value)
    except WireFault as fault:
        if fault.code >= 0:
            raise AssertionError(f"no fault code for {value!r}") from fault
        return None
