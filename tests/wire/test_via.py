"""Via: RFC 4475 and RFC 5118 cases, rport, extents, round trips."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.wire.fault import WireFault
from sipcore.wire.via import ViaValue, split_via

from .values import bracketed, hosts, lws, mutated, names, parsed, ports, tokens

TORTURE = (b"SIP  / 2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw, SIP  / 2.0  / TCP     spindle.example.com   ;\r\n"
           b"  branch  =   z9hG4bK9ikj8  ,\r\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239")

BAD = {
    b"": "protocol",
    b"SIP/2.0": "protocol",
    b"SIP 2.0/UDP h": "protocol",
    b"SIP/2.0/ h": "sent-by|transport",
    b"SIP/2.0/UDP": "transport",
    b"SIP/2.0/UDP[::1]": "transport",
    b"SIP/2.0/UDP ": "transport|sent-by",
    b"SIP/2.0/UDP 2001:db8::1": "sent-by",
    b"SIP/2.0/UDP h:": "sent-by",
    b"SIP/2.0/UDP h:0": "sent-by",
    b"SIP/2.0/UDP h:65536": "sent-by",
    b"SIP/2.0/UDP h x": "sent-by",
    b"SIP/2.0/UDP h@i": "sent-by",
    b"SIP/2.0/UDP 192.0.2.15;;,;,,": "parameter",                # RFC 4475 3.1.2.1
    b"SIP/2.0/UDP h;": "parameter",
    b"SIP/2.0/UDP h;branch=a b": "parameter",
    b"SIP/2.0/UDP h,": "empty",
    b"SIP/2.0/UDP h,,SIP/2.0/UDP i": "protocol",
    b"SIP/2.0/UDP h;branch=a;branch=b": "twice",
    b"SIP/2.0/UDP h;rport;rport=1": "twice",
    b"SIP/2.0/UDP h;received=1.2.3.4;Received=1.2.3.5": "twice",
    b"SIP/2.0/UDP h;maddr=a;maddr=b": "twice",
    b"SIP/2.0/UDP h;ttl=1;ttl=2": "twice",
    b"SIP/2.0/UDP h;branch": "branch",
    b"SIP/2.0/UDP h;branch=": "branch",
    b'SIP/2.0/UDP h;branch="z9hG4bKx"': "branch",
    b"SIP/2.0/UDP h;rport=0": "rport",
    b"SIP/2.0/UDP h;rport=65536": "rport",
    b"SIP/2.0/UDP h;rport=x": "rport",
    b"SIP/2.0/UDP h;ttl=256": "ttl",
    b"SIP/2.0/UDP h;ttl": "ttl",
}


def test_torture_list():
    """RFC 4475 3.1.1.1: spaces and folds around every separator."""
    values = [ViaValue(value) for value in split_via(TORTURE)]
    assert [(via.transport, via.host, via.branch, via.cookie, via.protocol_ok) for via in values] == [
        ("UDP", "192.0.2.2", "390skdjuw", False, True),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8", True, True),
        ("UDP", "192.168.255.111", "z9hG4bK30239", True, True),
    ]
    assert values[1].render() == b"SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8"


@pytest.mark.parametrize("transport", ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"])
def test_transports(transport):
    """RFC 4475 3.1.1.10."""
    assert ViaValue(f"SIP/2.0/{transport} t1.example.com;branch=z9hG4bKkdjuw".encode()).transport == transport


@pytest.mark.parametrize("received", ["[2001:db8::9:255]", "2001:db8::9:255"])
def test_received_ipv6(received):
    """RFC 5118 4.5: with and without brackets."""
    via = ViaValue(f"SIP/2.0/UDP [2001:db8::9:1];received={received};branch=z9hG4bKas3-111".encode())
    assert (via.host, via.received, via.branch) == ("2001:db8::9:1", "2001:db8::9:255", "z9hG4bKas3-111")


def test_all_parts():
    value = b"SIP/2.0/TLS [::1] : 5061 ;ttl=16;maddr=224.2.0.1;x;RPort=5062;received=192.0.2.9;branch=z9hG4bK"
    via = ViaValue(value)
    assert (via.transport, via.host, via.port, via.ttl, via.maddr) == ("TLS", "::1", 5061, 16, "224.2.0.1")
    assert (via.rport, via.received, via.branch, via.cookie) == (5062, "192.0.2.9", "z9hG4bK", False)
    assert list(via.params) == ["ttl", "maddr", "x", "rport", "received", "branch"]
    assert via.rport_extent == (value.index(b"RPort"), value.index(b";received"))
    assert via.received_extent == (value.index(b"received"), value.index(b";branch"))


def test_defaults():
    via = ViaValue(b"SIP/2.0/UDP h")
    assert (via.port, via.rport, via.ttl, via.branch, via.received, via.rport_extent) == (0, None, None, "", "", None)


@pytest.mark.parametrize(("value", "ok"), [
    (b"SIP/2.0/UDP h", True), (b"sip/2.0/UDP h", True), (b"SIP/3.0/UDP h", False), (b"HTTP/2.0/UDP h", False),
])
def test_protocol(value, ok):
    assert ViaValue(value).protocol_ok == ok


@pytest.mark.parametrize("value", BAD)
def test_malformed_values_are_refused_with_a_reason(value):
    with pytest.raises(WireFault, match=BAD[value]):
        split_via(value)


@pytest.mark.parametrize("bare", [b"rport", b"rport ", b"rport =", b"RPORT\r\n "])
def test_a_bare_rport_can_be_replaced_in_place(bare):
    """RFC 3581 4: the server writes the source port into the parameter."""
    value = b"SIP/2.0/UDP 10.1.1.1:4540;" + bare + b";branch=z9hG4bKkjshdyff"
    via = ViaValue(value)
    assert via.rport == 0
    assert via.rport_extent is not None
    start, stop = via.rport_extent
    answered = ViaValue(value[:start] + b"rport=9988" + value[stop:])
    assert (answered.rport, answered.branch) == (9988, "z9hG4bKkjshdyff")


@given(st.sampled_from(["UDP", "TCP", "TLS", "WS", "X-Y"]), hosts, st.just(0) | ports, tokens,
       st.none() | st.just(0) | ports,
       st.dictionaries(names.filter(lambda name: name not in ("branch", "rport", "received", "maddr", "ttl")),
                       st.none() | tokens, max_size=3), st.lists(lws, min_size=7, max_size=7))
def test_render_then_parse(transport, host, port, branch, rport, params, gaps):
    gap = iter(gaps * 6)
    text = f"SIP{next(gap)}/{next(gap)}2.0{next(gap)}/{next(gap)}{transport} {next(gap)}{bracketed(host)}"
    text += f"{next(gap)}:{next(gap)}{port}" if port else ""
    full = dict(params) | ({} if rport is None else {"rport": str(rport) if rport else None}) | {"branch": branch}
    for name, value in full.items():
        text += f"{next(gap)};{next(gap)}{name}" + ("" if value is None else f"{next(gap)}={next(gap)}{value}")
    (value,) = split_via((next(gap) + text + next(gap)).encode())
    assert value == text.encode()
    for via in (ViaValue(value), ViaValue(ViaValue(value).render())):
        assert (via.transport, via.host, via.port, via.branch, via.rport) == (transport, host, port, branch, rport)
        assert via.params == full
    assert len(split_via(b" ,\r\n ".join([value] * 3))) == 3


@given(mutated([TORTURE, b"SIP/2.0/UDP [2001:db8::9:1]:6050;rport;received=192.0.2.1;branch=z9hG4bKas3-111;ttl=1"]))
def test_hostile_bytes_are_parsed_or_refused(value):
    values = parsed(split_via, value)
    if values is None:
        return
    assert values
    for one in values:
        assert one in value
        assert split_via(one) == [one]
        again = ViaValue(ViaValue(one).render())
        assert again.params == ViaValue(one).params
