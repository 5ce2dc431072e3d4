"""SIP over WebSocket (RFC 7118) on loopback, against the client side of the `websockets` library."""
import contextlib
import functools
import random
import socket
import tracemalloc

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from sipcore.net.tls import TlsContext
from sipcore.net.websocket import SUBPROTOCOL, WebSocket
from sipcore.wire.message import Message
from tests.certificates import Authority
from tests.net.streams import request
from tests.net.streams import running as running_edge
from tests.net.test_tls import TlsPeer

running = functools.partial(running_edge, transport="ws")


class Browser:
    """A client that follows RFC 7118."""

    def __init__(self, edge, *, subprotocols=("sip",), origin=None, headers=(), source="127.0.0.1", connect=True):
        self.protocol = ClientProtocol(
            parse_uri("ws://edge.example.com/"), subprotocols=list(subprotocols) or None, origin=origin)
        self.edge = edge
        self.peer = edge.connect(source)
        self.frames: list[Frame] = []
        self.responses: list[Response] = []
        if connect:
            upgrade = self.protocol.connect()
            for name, value in headers:
                upgrade.headers[name] = value
            self.protocol.send_request(upgrade)
            self.move()

    def move(self):
        with contextlib.suppress(BlockingIOError):
            try:
                self.peer.sock.sendall(b"".join(self.protocol.data_to_send()))
                data = self.peer.sock.recv(65536)
            except ConnectionError:
                data = b""
            if data:
                self.protocol.receive_data(data)
            else:
                self.peer.ended = True
        for event in self.protocol.events_received():
            if isinstance(event, Response):
                self.responses.append(event)
            elif isinstance(event, Frame):
                self.frames.append(event)

    def until(self, true):
        def enough():
            self.move()
            return true()

        self.edge.until(enough)

    def opened(self):
        self.until(lambda: self.responses)
        return self

    def take(self):
        self.until(lambda: self.frames)
        return self.frames.pop(0)

    def send(self, data):
        self.protocol.send_text(data)
        self.move()

    def closed(self):
        self.until(lambda: self.peer.ended)


def test_a_request_is_answered_in_one_frame():
    with running() as edge:
        browser = Browser(edge).opened()
        assert browser.responses[0].status_code == 101
        assert browser.responses[0].headers["Sec-WebSocket-Protocol"] == "sip"
        # A length is not needed: the frame says where the message ends.
        browser.send(request(transport="WS", length=False))
        frame = browser.take()
        assert frame.opcode == Opcode.TEXT
        assert Message(bytes(frame.data)).status == 200
        assert edge.count("stream_messages_in") == edge.count("stream_messages_out") == 1


def test_a_message_in_many_frames_and_a_binary_one():
    with running() as edge:
        browser = Browser(edge).opened()
        data = request(transport="WS")
        browser.protocol.send_text(data[:50], fin=False)
        browser.protocol.send_ping(b"between")
        browser.protocol.send_continuation(data[50:], fin=True)
        browser.move()
        assert {browser.take().opcode, browser.take().opcode} == {Opcode.PONG, Opcode.TEXT}
        browser.protocol.send_binary(request(transport="WS", branch="2", call_id="2"))
        browser.move()
        assert Message(bytes(browser.take().data)).status == 200


def test_a_keepalive_is_answered():
    with running() as edge:
        browser = Browser(edge).opened()
        browser.send(b"\r\n\r\n")
        assert bytes(browser.take().data) == b"\r\n"


@pytest.mark.parametrize("subprotocols", [(), ("xmpp",)])
def test_another_subprotocol_is_refused(subprotocols):
    with running() as edge:
        browser = Browser(edge, subprotocols=subprotocols).opened()
        assert browser.responses[0].status_code == 400
        browser.until(lambda: browser.peer.ended)
        edge.until(lambda: edge.count("connections") == 0)
        assert (edge.count("handshakes_failed"), edge.count("framing_faults")) == (1, 0)
        (level, event, fields), = edge.lines
        assert (level, event) == ("info", "connection refused")
        assert fields["reason"].startswith("HTTP 400: ")


@pytest.mark.parametrize("origin", ["https://evil.example.com", "http://phone.example.com",
                                    "https://phone.example.com:8443", "https://phone.example.com.evil.example", "null",
                                    None])
def test_pages_from_elsewhere_are_refused(origin):
    with running(origins=[["https://phone.example.com", "https://other.example.com"]]) as edge:
        browser = Browser(edge, origin=origin).opened()
        assert browser.responses[0].status_code == 403
        browser.closed()
        assert edge.lines[0][2]["reason"].startswith("HTTP 403: ")
        for good in ("https://phone.example.com", "https://other.example.com"):
            assert Browser(edge, origin=good).opened().responses[0].status_code == 101


def test_any_page_may_connect_where_none_is_named():
    with running() as edge:
        for origin in ("https://phone.example.com", "null", None):
            assert Browser(edge, origin=origin).opened().responses[0].status_code == 101


def test_a_handshake_has_its_bounds():
    """What it says besides takes 16 KiB at most, whether it comes to its end or not."""
    with running() as edge:
        cookies = [("Cookie", f"a{number}={'x' * 4000}") for number in range(3)]
        assert Browser(edge, headers=cookies).opened().responses[0].status_code == 101
        endless = Browser(edge, connect=False)
        for number in range(40):
            with contextlib.suppress(ConnectionError):
                endless.peer.sock.sendall(
                    (b"" if number else b"GET / HTTP/1.1\r\n") + b"X-Header: %s\r\n" % (b"x" * 1000))
            edge.turn()
        endless.closed()
        assert edge.count("handshakes_failed") == 1
        assert edge.lines[0][2]["reason"] == "more than 16384 bytes, and no whole request to upgrade"


def test_connections_of_one_source_have_their_bound():
    with running(per_source=2) as edge:
        for _ in range(2):
            Browser(edge).opened()
        late = Browser(edge)
        late.closed()
        assert late.responses == []
        assert edge.count("connections_refused") == 1
        assert Browser(edge, source="127.0.0.9").opened().responses[0].status_code == 101


def test_what_is_no_upgrade_is_ended():
    with running(handshake=60) as edge:
        plain, silent = edge.connect(), edge.connect()
        plain.send(request())
        plain.closed()
        silent.closed()
        edge.until(lambda: edge.count("connections") == 0)


def framed(opcode, data=b"", *, fin=True, masked=True, reserved=0):
    """A frame of less than 126 bytes, masked with zeros."""
    head = bytes(((0x80 if fin else 0) | reserved | opcode, (0x80 if masked else 0) | len(data)))
    return head + (bytes(4) if masked else b"") + data


@pytest.mark.parametrize("frame", [
    framed(Opcode.TEXT, b"x", masked=False), framed(3, b"x"), framed(Opcode.TEXT, b"x", reserved=0x40),
    framed(Opcode.CONT, b"x"), framed(Opcode.PING, b"x", fin=False),
    framed(Opcode.TEXT, fin=False) + framed(Opcode.TEXT),
], ids=["unmasked", "unknown opcode", "compressed", "continues nothing", "a ping in parts", "begins within another"])
def test_a_frame_that_makes_no_sense_ends_the_connection(frame):
    with running() as edge:
        browser = Browser(edge).opened()
        browser.peer.sock.sendall(frame)
        browser.closed()
        assert browser.protocol.close_rcvd.code == 1002
        assert (edge.count("framing_faults"), edge.count("handshakes_failed")) == (1, 0)


def test_a_message_whose_length_is_another_than_its_frames():
    """The frame says where a message ends (RFC 7118 5.1): what is beyond its Content-Length is cut off, and too little
    is an error of this message alone."""
    with running() as edge:
        browser = Browser(edge).opened()
        browser.send(request(transport="WS", body=b"short").replace(b"Content-Length: 5", b"Content-Length: 500"))
        assert Message(bytes(browser.take().data)).status == 400
        browser.send(b"".join(request(transport="WS", branch=number, call_id=number) for number in ("2", "3")))
        assert Message(bytes(browser.take().data)).call_id == "2"
        browser.protocol.send_ping(b"last")
        browser.move()
        assert browser.take().opcode == Opcode.PONG
        assert edge.count("connections") == 1


def test_parts_without_end_take_no_memory():
    upgrade = ClientProtocol(parse_uri("ws://edge.example.com/"), subprotocols=[SUBPROTOCOL])
    upgrade.send_request(upgrade.connect())
    websocket = WebSocket(65535)
    websocket.receive(b"".join(upgrade.data_to_send()))
    websocket.receive(framed(Opcode.TEXT, b"OPTIONS", fin=False))
    nothing = framed(Opcode.CONT, fin=False) * 1000
    tracemalloc.start()
    for _ in range(30):
        assert websocket.receive(nothing) == []
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 30_000
    assert websocket.begun
    assert websocket.receive(framed(Opcode.CONT, b" x")) == [b"OPTIONS x"]
    assert not websocket.begun


def test_parts_without_end_take_no_other_ones_time():
    with running(message=200) as edge:
        other, browser = Browser(edge).opened(), Browser(edge).opened()
        browser.peer.sock.sendall(framed(Opcode.TEXT, b"OPTIONS", fin=False))
        flood = framed(Opcode.CONT, fin=False) * 10_000
        asked = 0
        while not browser.peer.ended:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                browser.peer.sock.send(flood)
            other.send(request(transport="WS", branch=str(asked), call_id=str(asked)))
            asked += 1
            assert Message(bytes(other.take().data)).status == 200
            browser.move()
        assert edge.count("connections_slow") == 1
        assert asked > 1


def test_a_storm_of_frames_is_read_a_little_at_a_time():
    """However much has come, a wake-up takes 16 KiB of all connections together; a turn has a few of them."""
    frame = framed(Opcode.TEXT, b"x")
    with running() as edge:
        browsers = [Browser(edge).opened() for _ in range(16)]
        for browser in browsers:
            browser.peer.sock.sendall(frame * 4000)
        most = last = 0
        while last < 16 * 4000:
            edge.turn(1)
            most, last = max(most, edge.count("stream_messages_in") - last), edge.count("stream_messages_in")
        assert most <= 8 * 16384 // len(frame)


def test_whoever_does_not_read_the_answers_to_his_pings_is_given_up():
    with running(queue=65536) as edge:
        browser = Browser(edge).opened()
        ping = framed(Opcode.PING, b"x" * 125)
        edge.lines.clear()

        def given_up():
            with contextlib.suppress(BlockingIOError, ConnectionError):
                browser.peer.sock.send(ping * 100)
            return edge.count("connections_stalled")

        edge.until(given_up)
        edge.until(lambda: edge.count("connections") == 0)


def test_a_client_is_pinged_in_silence_and_stays_as_long_as_it_answers():
    with running(keepalive=500) as edge:
        browser = Browser(edge).opened()
        for _ in range(3):
            assert browser.take().opcode == Opcode.PING
        assert edge.count("connections") == 1
        browser.send(request(transport="WS"))
        browser.until(lambda: any(frame.opcode == Opcode.TEXT for frame in browser.frames))


def test_a_client_that_leaves_a_ping_without_an_answer_is_gone():
    with running(keepalive=500) as edge:
        silent, lively = Browser(edge).opened(), Browser(edge).opened()

        def gone():
            lively.move()
            return edge.count("connections") == 1

        edge.until(gone)
        assert not lively.peer.ended
        silent.closed()


def test_a_stranger_is_not_pinged():
    with running(listed="", keepalive=300, unlisted_idle=2000) as edge:
        browser = Browser(edge).opened()
        browser.closed()
        assert browser.frames == []
        assert edge.count("connections_idle") == 1


def test_too_long_a_message_ends_the_connection():
    with running(message_limit=2048) as edge:
        browser = Browser(edge).opened()
        browser.send(b"a" * 4000)
        browser.until(lambda: browser.protocol.close_rcvd)
        assert browser.protocol.close_rcvd.code == 1009
        edge.until(lambda: edge.count("framing_faults") == 1)


def test_a_begun_message_has_to_end():
    with running(message=60) as edge:
        browser = Browser(edge).opened()
        browser.protocol.send_text(request(transport="WS")[:50], fin=False)
        browser.until(lambda: browser.peer.ended)
        assert edge.count("connections_slow") == 1


@pytest.mark.parametrize("last", [b"", request(transport="WS"), b"\r\n\r\n"], ids=["", "a request", "a keepalive"])
def test_a_goodbye_is_answered(last):
    """After it no message goes, not even an answer."""
    with running() as edge:
        browser = Browser(edge).opened()
        if last:
            browser.protocol.send_text(last)
        browser.protocol.send_close(1000)
        browser.peer.sock.sendall(b"".join(browser.protocol.data_to_send()))
        browser.closed()
        assert browser.protocol.close_rcvd.code == 1000
        assert [frame.opcode for frame in browser.frames] == [Opcode.CLOSE]
        edge.until(lambda: edge.count("connections") == 0)


def test_a_long_upgrade_over_tls(tmp_path):
    """Several reads of one TLS record: no event tells of what OpenSSL has already."""
    authority = Authority(tmp_path)
    certificate = authority.give("edge", "DNS:edge.example.com")
    context = (TlsContext(server=True, certificates=[certificate]), None)
    with running_edge(transport="wss", tls=[context]) as edge:
        peer = TlsPeer(edge, authority).shake()
        protocol = ClientProtocol(parse_uri("wss://edge.example.com/"), subprotocols=[SUBPROTOCOL])
        upgrade = protocol.connect()
        upgrade.headers["Cookie"] = "x" * 8000
        protocol.send_request(upgrade)
        peer.tls.write(b"".join(protocol.data_to_send()))
        protocol.receive_data(peer.until(lambda: peer.tls.read(65536)))
        response, = protocol.events_received()
        assert isinstance(response, Response)
        assert response.status_code == 101
        # A message of more than one record, too.
        data = request(transport="WSS", body=b"y" * 30_000)
        protocol.send_text(data)
        peer.tls.write(b"".join(protocol.data_to_send()))
        protocol.receive_data(peer.until(lambda: peer.tls.read(65536)))
        frame, = protocol.events_received()
        assert isinstance(frame, Frame)
        assert Message(bytes(frame.data)).status == 200


@pytest.mark.parametrize("seed", range(3))
def test_answers_and_pongs_for_a_slow_reader_stay_whole(seed):
    """What waits is moved to make room, wherever in a pong the network has stopped taking it."""
    choose = random.Random(seed)
    pings = requests = 0
    with running(queue=1 << 20) as edge:
        edge.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        browser = Browser(edge).opened()
        sock = browser.peer.sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        for number in range(300):
            for _ in range(choose.randrange(30)):
                browser.protocol.send_ping(bytes(choose.randrange(126)))
                pings += 1
            if number > 20 and choose.random() < 0.3:
                browser.protocol.send_text(request(transport="WS", branch=str(number), call_id=str(number)))
                requests += 1
            sock.sendall(b"".join(browser.protocol.data_to_send()))
            edge.turn()
            if choose.random() < 0.6:
                with contextlib.suppress(BlockingIOError):
                    browser.protocol.receive_data(sock.recv(choose.randrange(1, 1000)))
        browser.until(lambda: len(browser.frames) == pings + requests)
        opcodes = [frame.opcode for frame in browser.frames]
        assert opcodes.count(Opcode.PONG) == pings
        assert opcodes.count(Opcode.TEXT) == requests
