"""The size that the policy reckons with is that of the bytes that leave (transfers.md section 4)."""
import pytest

from tests.endpoints import SDP

from .sample import header_set
from .test_wire import AGENTS, EDGE, ROUTE, Edge


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "OPTIONS", "REGISTER", "SUBSCRIBE"])
def test_one_that_fits_with_short_names_is_sent(method):
    """Only what begins a dialog gets Record-Route: others must not be judged with its size."""
    text = AGENTS + 'size_policy = ["compact", "refuse"]\n' + ROUTE + f'methods = ["{method}"]\n'
    base = EDGE.replace('["127.0.0.2"]', f'["127.0.0.2"]\nmethods = ["{method}"]')

    def sent(mtu, names):
        edge = Edge(text.replace("1500", str(mtu)), base)
        edge.caller.request(method, "sip:2001@127.0.0.1", headers=[("X-Pad", "p" * 100)])
        edge.run()
        assert edge.agent.port.inbox, edge.caller.names()
        data = edge.agent.take(method).data
        assert (b"\r\nf: " in data) == (names == "short")
        return data

    size = len(sent(4000, "long"))
    assert len(sent(size + 200, "long")) == size
    short = len(sent(size + 199, "short"))
    assert len(sent(short + 200, "short")) == short
    with pytest.raises(AssertionError, match="513"):
        sent(short + 199, "")


@pytest.mark.parametrize("header", [
    ("Proxy-Authorization", 'Digest username="ann", realm="example.com", nonce="' + 200 * "n" + '"'),
    ("X-Internal-Note", 200 * "n"),
])
def test_what_is_taken_out_as_it_leaves_does_not_count(header):
    text = header_set('name = "X-Small", value = "s"')
    for over in (0, 1):
        edge = Edge(AGENTS.replace("1500", "4000") + text + ROUTE + 'headers = ["set"]\n')
        size = len(edge.invite().data)
        edge = Edge(AGENTS.replace("1500", str(size + 200 - over)) + 'size_policy = ["compact", "drop", "refuse"]\n'
                    + text + ROUTE + 'headers = ["set"]\n[internal]\nheaders = ["X-Internal-*"]\n')
        edge.proxy.configure(edge.proxy.admission, edge.policy.decide, edge.policy.oversize,
                             internal=("X-Internal-*",), realms=("example.com",))
        arrived = edge.invite(header)
        assert arrived.header(header[0]) is None
        assert arrived.header("X-Small") == "s"
        assert len(arrived.data) <= size - over
        assert edge.count("oversize") == over
        notes = edge.proxy.take_troubles()
        assert [note.rpartition("; now ")[2] for note in notes] == [f"{len(arrived.data):,}"] * over


def test_each_target_is_judged_by_its_own_size():
    two = ('[[upstream]]\nname = "agents"\ntry_timeout = 1\nsize_policy = ["compact", "drop", "refuse"]\nmtu = %d\n'
           'targets = [{address = "127.0.0.3:5060"}, {address = "127.0.0.100:50600", priority = 1}]\n')
    text = header_set('name = "X-Small", value = "s"') + ROUTE + 'headers = ["set"]\n'
    size = len(Edge(two % 4000 + text).invite(("Content-Type", "a/b")).data)
    edge = Edge(two % (size + 200) + text)
    other = edge.phone("bot", "127.0.0.100", 50600)
    first = edge.invite(("Content-Type", "a/b"))
    assert (len(first.data), edge.count("oversize")) == (size, 0)
    edge.agent.answer(first, 503)
    edge.run()
    second = other.take("INVITE")
    assert len(second.data) <= size
    (note,) = edge.proxy.take_troubles()
    assert note.startswith(f"size {size + 3:,} of {size:,} bytes (agents): compact header names; now ")
    assert note.endswith(f"; now {len(second.data):,}")
    assert second.header("X-Small") == "s"


def test_codecs_in_a_part_of_the_body():
    sdp = SDP.replace(b"AVP 0", b"AVP 0 8") + b"a=rtpmap:0 PCMU/8000\r\na=fmtp:0 " + 100 * b"x" + b"\r\n"
    body = (b"--b\r\nContent-Type: text/plain\r\n\r\n" + sdp + b"\r\n--b\r\nContent-Type: application/sdp\r\n\r\n"
            + sdp + b"\r\n--b--\r\n")
    edge = Edge(AGENTS.replace("1500", "1200") + 'codecs = ["PCMA"]\nsize_policy = ["codecs", "refuse"]\n' + ROUTE)
    arrived = edge.invite(("Content-Type", "multipart/mixed;boundary=b"), body=body)
    shorter = SDP.replace(b"AVP 0", b"AVP 8")
    assert arrived.data.partition(b"\r\n\r\n")[2] == body[:body.rindex(sdp)] + shorter + b"\r\n--b--\r\n"
    (note,) = edge.proxy.take_troubles()
    assert note.endswith(f": kept only codecs PCMA; now {len(arrived.data):,}")


def test_more_than_a_datagram_can_carry_is_refused():
    edge = Edge(AGENTS + 'size_policy = ["fragment"]\n' + ROUTE)
    body = 65_000 * b"x"
    body += (65_507 - len(edge.invite(body=body, call_id="c1").data)) * b"x"
    assert len(edge.invite(body=body, call_id="c2").data) == 65_507
    assert (edge.count("fragmented"), len(edge.proxy.take_troubles())) == (2, 2)
    edge.caller.names()
    edge.caller.request("INVITE", "sip:2001@127.0.0.1", body=body + b"x", call_id="c3")
    edge.run()
    assert (edge.caller.names(), edge.agent.names()) == (["513"], [])
    (text,) = edge.proxy.take_troubles()
    assert text.endswith(": refused, too big for UDP; now 65,508")
    assert (edge.count("fragmented"), edge.count("oversize_refused")) == (2, 1)
