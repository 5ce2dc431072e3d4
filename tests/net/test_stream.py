"""Connections over TCP on loopback: framing, answers, what is no SIP, pings, silence."""
import contextlib
import socket

import pytest

from sipcore.wire.message import Message
from tests.net.streams import Listening, answer, request, running, statuses


def test_a_request_is_answered_on_its_connection():
    with running() as edge:
        peer = edge.connect()
        peer.send(request())
        answer, = peer.take()
        assert Message(answer).status == 200
        assert edge.count("connections_accepted") == 1
        assert edge.count("stream_messages_in") == edge.count("stream_messages_out") == 1


def test_many_messages_of_one_read_and_one_message_of_many():
    with running() as edge:
        peer = edge.connect()
        peer.send(b"".join(request(branch=str(number), call_id=str(number)) for number in range(50)))
        assert statuses(peer.take(50)) == [200] * 50
        data = request(branch="slow", body=b"x" * 3000)
        for at in range(0, len(data), 100):
            peer.send(data[at:at + 100])
            edge.turn(2)
        assert statuses(peer.take()) == [200]


def test_a_message_in_two_segments_at_every_split_point():
    """And the beginning of the next one with the second: what follows is never lost or taken for a part."""
    data = request(branch="a", call_id="a", body=b"\r\nOPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n")
    again = request(branch="b", call_id="b")
    with running() as edge:
        peer = edge.connect()
        for at in range(1, len(data)):
            peer.send(data[:at])
            edge.turn(2)
            peer.send(data[at:] + again[:at])
            edge.turn(2)
            peer.send(again[at:])
            first, second = map(Message, peer.take(2))
            assert (first.status, second.status) == (200, 200)
            assert (first.header("Call-ID"), second.header("Call-ID")) == ("a", "b")
        assert edge.count("stream_messages_in") == 2 * (len(data) - 1)
        assert edge.count("framing_faults") == 0


def test_bursts_over_two_connections_are_answered_in_order():
    """More in a hundredth of a second than makes the edge look again at once."""
    with running() as edge:
        peers = [edge.connect(), edge.connect()]
        for burst in range(5):
            for peer in peers:
                peer.send(b"".join(request(branch=f"{id(peer)}-{burst}-{number}", call_id=str(number))
                                   for number in range(100)))
            for peer in peers:
                answers = [Message(data) for data in peer.take(100)]
                assert [answer.status for answer in answers] == [200] * 100
                assert [answer.call_id for answer in answers] == [str(number) for number in range(100)]
        assert edge.count("stream_messages_in") == edge.count("stream_messages_out") == 1000


def test_a_ping_gets_one_pong():
    with running() as edge:
        peer = edge.connect()
        peer.send(b"\r\n\r\n" + request() + b"\r\n\r\n\r\n\r\n")
        assert statuses(peer.take()) == [200]
        edge.turn()
        peer.read()
        assert len(peer.frames) <= 1
        assert edge.count("stream_pings") >= 1


@pytest.mark.parametrize("bad", [
    b"", b"Content-Length: -5\r\n", b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: 4294967301\r\n", b"Content-Length: 5\r\nl: 0\r\n",
], ids=repr)
def test_an_untold_length_is_answered_and_ends_the_connection(bad):
    with running() as edge:
        peer = edge.connect()
        second = request(branch="2", call_id="call-2")
        whole = request(length=False)
        peer.send(whole[:-2] + bad + b"\r\n" + second)
        messages = peer.take()
        assert statuses(messages) == [400]
        peer.closed()
        assert peer.frames == []
        assert edge.count("framing_faults") == 1
        assert edge.count("decided") == 0


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x00\xff", b"GET / HTTP/1.1\r\n\r\n", b"INVITE sip:a SIP/2.0\n\n"])
def test_what_is_no_sip_ends_the_connection_without_an_answer(junk):
    with running() as edge:
        peer = edge.connect()
        peer.send(junk + request())
        peer.closed()
        assert peer.frames == []


def test_strangers_that_say_nothing_are_ended_and_listed_peers_stay():
    with running(listed="127.0.0.1/32", unlisted_idle=50, idle=60_000) as edge:
        stranger, peer = edge.connect("127.0.0.9"), edge.connect()
        stranger.closed()
        assert edge.count("connections_idle") == 1
        peer.send(request())
        assert statuses(peer.take()) == [200]


def test_targets_are_pinged_and_one_that_stops_answering_is_given_up():
    holder: list[Listening] = []
    with running(lambda edge: holder[0].verdict(), keepalive=30) as edge:
        target = Listening(edge)
        holder.append(target)
        peer = edge.connect()
        peer.send(request("MESSAGE"))
        far = target.accept()
        far.send(answer(far.take()[0]))
        far.until(lambda far: ("ping", b"\r\n") in far.frames)
        # One that never answered stays: not everybody knows keepalives.
        far.frames = []
        far.until(lambda far: ("ping", b"\r\n") in far.frames)
        far.send(b"\r\n")
        edge.turn()
        assert not far.ended
        target.close()


def test_a_trace_shows_messages_of_streams():
    shown = []
    with running() as edge:
        edge.endpoint.set_trace(lambda *seen: shown.append(seen))
        peer = edge.connect()
        data = request()
        peer.send(data)
        taken, = peer.take()
        host, port = peer.sock.getsockname()
        assert shown == [("in", 0, host, port, data), ("out", 0, host, port, taken)]


def test_over_both_transports_at_once():
    with running() as edge:
        peer = edge.connect()
        phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        phone.bind(("127.0.0.1", 0))
        phone.setblocking(False)
        phone.sendto(request(branch="u", call_id="u", transport="UDP", port=phone.getsockname()[1]),
                     edge.udp.getsockname())
        peer.send(request())
        assert statuses(peer.take()) == [200]
        found = []

        def came():
            with contextlib.suppress(BlockingIOError):
                found.append(phone.recv(65536))
            return found

        edge.until(came)
        assert statuses(found) == [200]
        phone.close()
