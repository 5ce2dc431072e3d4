"""Refer-To: accepted or refused with a status, and every byte that is not changed stays."""
import re

from sipcore.wire.nameaddr import NameAddress
from sipcore.wire.uri import URI
from tests.fuzz import harness

with harness.instrumented("proxy"):
    from proxy.policy.headers import Patterns
    from proxy.policy.refer_to import parse_refer_to
    from proxy.policy.refusals import Refused

INTERNAL = Patterns(("X-Edge-*",))


def target(data: bytes) -> None:
    # As a header value arrives: no line ends, no NUL.
    value = re.sub(rb"[\r\n\0]", b" ", data).decode("utf-8", "surrogateescape")
    try:
        found = parse_refer_to([value])
    except Refused as refused:
        assert refused.status in (400, 416, 603)
        return
    assert (found.before + found.uri + found.after).split() == value.split() or not found.before
    assert found.uri in value
    assert found.scheme in ("sip", "tel", "raw")
    assert found.render("") is None
    if found.scheme == "raw":
        return
    stripped = found.without(INTERNAL)
    assert not any(INTERNAL.match(name) for name in stripped.header_names)
    if found.scheme == "sip":
        for name, text in URI(stripped.uri.encode("utf-8", "surrogateescape")).header_list:
            assert name.lower() == "body" or not re.search(r"[\r\n\0]|^X-Edge-", f"{name}: {text}", re.IGNORECASE)
    if (left := stripped.render("")) is not None:
        again = parse_refer_to([left.decode("utf-8", "surrogateescape")])
        assert again.header_names == stripped.header_names
    if found.scheme == "sip":
        rendered = found.render("X-Name=a%20b")
        assert rendered is not None
        uri = NameAddress(rendered).uri
        assert uri is not None
        assert uri.header_list[-1] == ("X-Name", "a b")
        assert parse_refer_to([rendered.decode("utf-8", "surrogateescape")]).user == found.user


SEEDS = [
    *harness.values(b"Refer-To"),
    b'"A <b>" <sip:u@h:5060;method=INVITE?X-Edge-Call=1&Replaces=a%40b%3Bto-tag%3D1&X-A=>;x=y',
    b"<sip:u@h?X-A=1%0d%0aX-Edge-Call:%201&x-edge-b%3a=2&X-%00C=3>",
    b"sip:u?v@h;user=phone", b"tel:+1234567890", b"internal-ext-123", b"<internal>", b"sips:u@h",
]

if __name__ == "__main__":
    harness.run(target, SEEDS)
