"""URIs: what is accepted renders as it came, its parts are consistent, comparison is an equivalence."""
from sipcore.wire.escape import unescape
from sipcore.wire.fault import WireFault
from sipcore.wire.uri import URI
from sipcore.wire.uriequal import same_uri
from tests.fuzz import harness


def parse(text: bytes) -> URI | None:
    try:
        return URI(text)
    except WireFault as fault:
        assert fault.code < 0
        return None


def read(uri: URI, text: bytes) -> None:
    assert uri.render().encode("utf-8", "surrogateescape") == text
    assert not set(text) & set(b"\r\n\0 <>\"\\")
    assert 0 <= uri.port <= 65535
    assert same_uri(uri, uri)
    if uri.scheme in ("sip", "sips"):
        assert uri.host
        assert not set(uri.host) & set("@;?,")
        assert uri.user is None or uri.user
        assert uri.password is None or uri.user is not None
        assert all(uri.param(name) == (text or "") for name, text in uri.params.items())
        assert set(uri.headers) <= {name.lower() for name, _ in uri.header_list} | {name for name, _ in uri.header_list}
        # The same parts, escaped by us, have the same meaning. Not `same_uri`: an escaped reserved character that
        # may stand plain differs from the plain one (RFC 3261 19.1.4).
        again = uri.replace(params=uri.params, headers=uri.header_list)
        assert (again.user, again.host, again.port) == (uri.user, uri.host, uri.port)
        assert again.params == uri.params
        assert again.header_list == uri.header_list


def target(data: bytes) -> None:
    unescape(data)
    texts = data.split(b"\n")[:2]
    uris = [uri for text in texts if (uri := parse(text)) is not None]
    for uri in uris:
        read(uri, uri.render().encode("utf-8", "surrogateescape"))
    if len(uris) == 2:
        one, other = uris
        assert same_uri(one, other) == same_uri(other, one)
        assert one != other or hash(one) == hash(other)


SEEDS = [
    *(value.partition(b"<")[2].partition(b">")[0] for value in harness.values(
        b"From", b"To", b"Contact", b"Record-Route", b"Refer-To")),
    b"sip:%61lice@atlanta.com;transport=TCP\nsip:alice@AtLanTa.CoM;Transport=tcp",
    b"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
    b"sip:h?a=1&a=2\nsip:h?A=2&a=1",
    b"sip:u:p@[2001:db8::1]:5060\nsips:u@[2001:DB8:0:0::1]",
    b"tel:863-1234;phone-context=+1-914-555;ext=1-2\ntel:8631234;ext=12;phone-context=+1914555",
    b"soap.beep://192.0.2.103:3002\nurn:service:sos",
]

if __name__ == "__main__":
    harness.run(target, SEEDS)
