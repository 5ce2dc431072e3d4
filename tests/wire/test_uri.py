"""URIs: the RFC's own examples, round trips, hostile bytes."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.wire.fault import WireFault
from sipcore.wire.uri import URI

from .values import bracketed, hosts, mutated, parsed, plain, ports, tokens

URIS = [
    # RFC 3261 19.1.3
    "sip:alice@atlanta.com",
    "sip:alice:secretword@atlanta.com;transport=tcp",
    "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
    "sip:+1-212-555-1212:1234@gateway.com;user=phone",
    "sips:1212@gateway.com",
    "sip:alice@192.0.2.4",
    "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
    "sip:alice;day=tuesday@atlanta.com",
    # RFC 4475 3.1.1
    "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
    "sip:sips%3Auser%40example.com@example.net",
    "sip:null-%00-null@example.com",
    "sip:user;par=u%40example.net@example.com",
    "sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31",
    # RFC 5118
    "sip:[2001:db8::10]",
    "sip:[2001:db8::10:5070]",
    "sip:[2001:db8::10]:5070",
    "sip:user@[2001:db8:::192.0.2.1]",
    "sip:ted@[::ffff:192.0.2.2]",
    # RFC 3966
    "tel:+1-201-555-0123",
    "tel:7042;phone-context=example.com",
    "tel:863-1234;phone-context=+1-914-555",
    # schemes that are not ours
    "nobodyKnowsThisScheme:totallyopaquecontent",
    "soap.beep://192.0.2.103:3002",
    "http://www.example.com",
    "urn:service:sos",
]

BAD = {
    "": "empty",
    "sip": "scheme",
    "<sip:user@example.com>": "scheme",                         # RFC 4475 3.1.2.7
    "sip:": "host",
    "sip:@example.com": "user",
    "sip:user@": "host",
    "sip:us er@example.com": "user",
    "sip:user<@example.com": "user",
    "sip:us#er@example.com": "user",
    "sip:usér@example.com": "user",
    "sip:a@b@c": "host",
    "sip:a%4@example.com": "escape",
    "sip:a%zz@example.com": "escape",
    "sip:a%4": "host",
    "sip:user@example.com; lr": "parameter",                    # RFC 4475 3.1.2.8
    "sip:user@example.com;": "parameter",
    "sip:user@example.com;;lr": "parameter",
    "sip:user@example.com;=x": "parameter",
    "sip:user@example.com;lr;lr": "twice",
    "sip:user@example.com;transport=udp;%74ransport=tcp": "twice",
    "sip:user@example.com?": "header",
    "sip:user@example.com?Route": "header",
    "sip:user@example.com?a=b&": "header",
    "sip:user@example.com?a=b;c": "header",
    "sip:user@example.com?a=<b>": "header",
    "sip:2001:db8::10": "host",                                 # RFC 5118 4.2
    "sip:[2001:db8::10": "host",
    "sip:[2001:db8:10]": "host",
    "sip:[::1::]": "host",
    "sip:[1:2:3:4:5:6:7:8:9]": "host",
    "sip:[::12345]": "host",
    "sip:[::1.2.3.256]": "host",
    "sip:[:1]": "host",
    "sip:[::g]": "host",
    "sip:10.1": "host",
    "sip:010.0.0.1": "host",
    "sip:1.2.3.256": "host",
    "sip:a..b": "host",
    "sip:.b": "host",
    "sip:example.com:": "port",
    "sip:example.com:0": "port",
    "sip:example.com:65536": "port",
    "sip:example.com:99999999999999999999": "port",
    "sip:example.com:5060x": "host",
    "tel:": "telephone",
    "tel:+": "telephone",
    "tel:+12ab": "telephone",
    "tel:+12;": "parameter",
    "tel:+12?a=b": "telephone",
    "unknown:": "printable",
    "unknown:a b": "printable",
    "unknown:a<b": "printable",
    "tel:8631234;ext=12;ext=1": "twice",
    "1sip:x": "scheme",
    "sip:h" + ";a" * 65: "64",
    "sip:h?a=b" + "&a=b" * 64: "64",
}


@pytest.mark.parametrize("text", URIS)
def test_well_formed_uris_render_as_they_came(text):
    assert URI(text).render() == text
    assert URI(text.encode()) == URI(text)


@pytest.mark.parametrize("text", BAD)
def test_malformed_uris_are_refused_with_a_reason(text):
    with pytest.raises(WireFault, match=BAD[text]):
        URI(text)


def test_parts_of_a_full_uri():
    uri = URI("SIPS:al%69ce:sec%3Aret@[2001:db8::1]:5061;Transport=TLS;lr;x=%20?X-A=1%202&b=")
    assert (uri.scheme, uri.user, uri.password, uri.host, uri.port) == ("sips", "alice", "sec:ret", "2001:db8::1", 5061)
    assert uri.params == {"transport": "TLS", "lr": None, "x": " "}
    assert uri.header_list == [("X-A", "1 2"), ("b", "")]
    assert (uri.param("transport"), uri.param("LR"), uri.param("maddr")) == ("TLS", "", None)


@pytest.mark.parametrize(("text", "user", "host"), [
    ("sip:user;par=u%40example.net@example.com", "user;par=u@example.net", "example.com"),
    ("sip:%00@host5.example.com", "\0", "host5.example.com"),
    ("sip:[2001:db8::10:5070]", None, "2001:db8::10:5070"),
    ("sip:host?a=b", None, "host"),
    ("sip:a?b=c@host", "a?b=c", "host"),
    ("tel:+1-201-555-0123;ext=5", "+1-201-555-0123", ""),
    ("sip:example.com.", None, "example.com."),
    ("sip:pbx_1", None, "pbx_1"),
])
def test_where_user_and_host_lie(text, user, host):
    assert (URI(text).user, URI(text).host) == (user, host)


def test_request_uri_headers_are_visible():
    """RFC 4475 3.1.2.11: whoever takes requests refuses them."""
    assert URI("sip:user@example.com?Route=%3Csip:example.com%3E").headers == {"Route": "<sip:example.com>"}


def test_unknown_scheme_is_opaque():
    uri = URI("NoBody:a;b?c@d:5060")
    assert (uri.scheme, uri.opaque) == ("nobody", "a;b?c@d:5060")
    assert (uri.user, uri.host, uri.port, uri.params) == (None, "", 0, {})


def test_a_fault_knows_its_status_and_leaks_nothing():
    with pytest.raises(WireFault) as caught:
        URI("sip:\x1b[2J@host")
    assert caught.value.status == 400
    assert "\x1b" not in str(caught.value)
    assert caught.value.value == b"sip:\x1b[2J@host"


def test_replace_keeps_what_it_is_not_told_to_change():
    uri = URI("sip:a%3Bb:pw@old.example:5070;x=%41?h=%42")
    assert uri.replace(host="2001:db8::1").render() == "sip:a%3Bb:pw@[2001:db8::1]:5070;x=%41?h=%42"
    assert uri.replace(user="+49 30", port=0, params={"lr": None}).render() == "sip:+49%2030@old.example;lr?h=%42"
    assert uri.replace(user=None, headers=[("X-A", "ä&b"), ("X-A", "2")]).render() == (
        "sip:old.example:5070;x=%41?X-A=%C3%A4%26b&X-A=2")
    with pytest.raises(ValueError, match="only sip and sips"):
        URI("tel:+1").replace(host="x")


@pytest.mark.parametrize("host", ["evil.example>\r\nRoute: x", "a b", "a;lr", "a?b=c", "a@b", ""])
def test_a_host_cannot_add_anything(host):
    with pytest.raises(WireFault):
        URI.build("sip", host)
    with pytest.raises(WireFault):
        URI("sip:u@h").replace(host=host)


@pytest.mark.parametrize("parts", [
    {"scheme": "sip:a@b;x", "host": "h"}, {"scheme": "tel", "user": "+1;ext=2"},
    {"scheme": "tel", "user": "+1", "host": "h"},
    {"scheme": "sip", "host": "h", "port": -1}, {"scheme": "sip", "host": "h", "port": 65536},
])
def test_no_part_brings_another_along(parts):
    with pytest.raises(WireFault):
        URI.build(**parts)


CACHED = {"lr", "transport", "maddr", "user", "method", "ttl"}
param_names = plain.filter(lambda name: bool(name) and name.lower() == name and name not in CACHED)


@given(st.sampled_from(["sip", "sips"]), st.none() | plain.filter(bool), st.none() | plain, hosts, st.just(0) | ports,
       st.dictionaries(param_names, st.none() | plain, max_size=4),
       st.lists(st.tuples(plain.filter(bool), plain), max_size=4))
def test_build_then_parse_gives_the_parts_back(scheme, user, password, host, port, params, headers):
    password = None if user is None else password
    uri = URI.build(scheme, host, user=user, password=password, port=port, params=params, headers=headers)
    again = URI(uri.render())
    assert (again.scheme, again.user, again.password, again.host, again.port) == (scheme, user, password, host, port)
    assert again.params == params
    assert again.header_list == headers
    assert again.replace(host=host, params=params, headers=headers) == uri


@given(tokens.filter(lambda text: "%" not in text and "`" not in text), hosts, ports)
def test_plain_uris_come_back_byte_for_byte(user, host, port):
    text = f"sip:{user}@{bracketed(host)}:{port};transport=udp"
    uri = URI(text)
    assert (uri.render(), uri.user, uri.host, uri.port, uri.param("transport")) == (text, user, host, port, "udp")


@given(mutated([text.encode() for text in URIS]))
def test_hostile_bytes_are_parsed_or_refused(text):
    uri = parsed(URI, text)
    if uri is None:
        return
    assert uri.render().encode() == text
    assert not set(text) & set(b"\r\n\0 <>\"\\")
    assert uri.host or uri.scheme not in ("sip", "sips")
    assert "@" not in uri.host


def test_a_parameter_is_found_by_its_plain_name():
    uri = URI("sip:h;a%40b;C%3ad=1;e=")
    assert uri.params == {"a@b": None, "c:d": "1", "e": ""}
    assert [uri.param(name) for name in ("a@b", "c:D", "e", "f")] == ["", "1", "", None]


@pytest.mark.parametrize("text", ["sip:h;sport=1;sport=2", "sip:h;x;X", "sip:a@h;x=1;y;%78=1"])
def test_no_parameter_stands_twice(text):
    """RFC 3261 19.1.1."""
    with pytest.raises(WireFault, match="twice"):
        URI(text)
