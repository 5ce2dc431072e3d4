"""Connections over TCP on loopback: framing, answers, targets, limits, deadlines, and peers that do not play along."""
import asyncio
import contextlib
import socket
import struct

import pytest

from sipcore.net.endpoint import monotonic_ms
from sipcore.net.listening import listen_stream
from sipcore.stack.verdict import Target, Verdict
from sipcore.wire.message import Message
from tests.endpoints import SDP
from tests.net.streams import Edge, Peer, request


@contextlib.contextmanager
def running(*arguments, **options):
    edge = Edge(*arguments, **options)
    try:
        yield edge
    finally:
        edge.close()


def statuses(messages):
    return [Message(data).status for data in messages]


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


def test_a_last_word_is_answered():
    with running() as edge:
        peer = edge.connect()
        peer.send(request())
        peer.sock.shutdown(socket.SHUT_WR)
        assert statuses(peer.take()) == [200]
        peer.closed()
        edge.until(lambda: edge.count("connections") == 0)


class Listening:
    """A listening socket that the edge connects to."""

    def __init__(self, edge):
        self.edge = edge
        edge.targets.append(self)
        self.sock = listen_stream("tcp", "127.0.0.1", 0)
        self.address = self.sock.getsockname()[:2]

    def verdict(self, *others):
        return Verdict(targets=tuple(Target(host, port, 0, transport="tcp") for host, port in (self.address, *others)))

    def accept(self):
        found = []

        def came():
            with contextlib.suppress(BlockingIOError):
                found.append(self.sock.accept()[0])
            return found

        self.edge.until(came)
        found[0].setblocking(False)
        peer = Peer(self.edge, found[0])
        self.edge.peers.append(peer)
        return peer

    def close(self):
        self.sock.close()


def answer(data, status=200, reason="OK"):
    message = Message(data)
    lines = [f"SIP/2.0 {status} {reason}"]
    lines += [f"{name}: {value}" for name, value in message.items()
              if name.lower() in ("via", "from", "call-id", "cseq")]
    lines.append(f"To: {message.header('To')};tag=b")
    return ("\r\n".join([*lines, "Content-Length: 0"]) + "\r\n\r\n").encode()


def test_a_target_is_connected_to_once_and_its_answers_come_back():
    holder: list[Listening] = []
    with running(lambda edge: holder[0].verdict()) as edge:
        target = Listening(edge)
        holder.append(target)
        peer = edge.connect()
        peer.send(request("INVITE", body=SDP), request("MESSAGE", branch="2", call_id="call-2"))
        far = target.accept()
        invite, message = far.take(2)
        assert b"Via: SIP/2.0/TCP 127.0.0.1:" in invite
        far.send(answer(invite), answer(message))
        assert sorted(statuses(peer.take(3))) == [100, 200, 200]
        peer.send(request("MESSAGE", branch="3", call_id="call-3"))
        far.send(answer(far.take()[0]))
        assert statuses(peer.take()) == [200]
        assert edge.count("connections_opened") == 1
        target.close()


def test_a_refused_connection_fails_over_and_is_not_tried_again_at_once():
    holder: list[Listening] = []
    with running(lambda edge: holder[0].verdict(holder[1].address)) as edge:
        first, second = Listening(edge), Listening(edge)
        first.close()
        holder += [first, second]
        peer = edge.connect()
        peer.send(request("MESSAGE"))
        far = second.accept()
        far.send(answer(far.take()[0]))
        assert statuses(peer.take()) == [200]
        assert edge.count("connections_failed") == 1
        peer.send(request("MESSAGE", branch="2", call_id="call-2"))
        far.send(answer(far.take()[0]))
        assert statuses(peer.take()) == [200]
        assert edge.count("connections_failed") == 1
        assert [event for _, event, _ in edge.lines] == ["target failed"]
        second.close()


def test_no_target_left_is_503():
    holder: list[Listening] = []
    with running(lambda edge: holder[0].verdict()) as edge:
        target = Listening(edge)
        target.close()
        holder.append(target)
        peer = edge.connect()
        peer.send(request("MESSAGE"))
        assert statuses(peer.take()) == [503]


def test_too_many_connections_of_one_source():
    with running(per_source=3) as edge:
        peers = [edge.connect("127.0.0.2") for _ in range(4)]
        edge.until(lambda: edge.count("connections_refused") == 1)
        peers[3].closed()
        other = edge.connect("127.0.0.3")
        other.send(request())
        assert statuses(other.take()) == [200]
        peers[0].close()
        edge.until(lambda: edge.count("connections") == 3)
        again = edge.connect("127.0.0.2")
        again.send(request())
        assert statuses(again.take()) == [200]


def test_the_one_that_was_silent_longest_makes_room():
    with running(connections=3) as edge:
        peers = []
        for _ in range(3):
            peers.append(edge.connect())
            edge.until(lambda: edge.count("connections") == len(peers))
            edge.loop.run_until_complete(asyncio.sleep(0.003))
        peers[0].send(request())
        assert statuses(peers[0].take()) == [200]
        newest = edge.connect()
        newest.send(request(branch="2", call_id="2"))
        assert statuses(newest.take()) == [200]
        peers[1].closed()
        assert not peers[0].ended
        assert edge.count("connections_given_up") == 1


def test_unlisted_sources_have_a_limit_of_their_own():
    with running(listed="127.0.0.1/32", unlisted=2, connections=8) as edge:
        strangers = [edge.connect("127.0.0.9") for _ in range(3)]
        edge.until(lambda: edge.count("connections_given_up") == 1)
        assert edge.count("connections_unlisted") == 2
        peer = edge.connect()
        peer.send(request())
        assert statuses(peer.take()) == [200]
        strangers[2].send(request(branch="3"))
        edge.until(lambda: edge.count("unlisted_dropped") == 1)


def test_a_banned_stranger_is_not_taken_and_a_banned_peer_is():
    with running(listed="127.0.0.1/32") as edge:
        for host in ("127.0.0.9", "127.0.0.1"):
            edge.proxy.bans.ban(host, monotonic_ms() + 60_000, monotonic_ms())
        edge.connect("127.0.0.9").closed()
        assert edge.count("connections_refused") == 1
        # It may have calls in progress; what begins something is refused by the message.
        edge.connect()
        edge.until(lambda: edge.count("connections_accepted") == 1)
        assert edge.count("connections_refused") == 1


@pytest.mark.parametrize("junk", [
    b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\xff",
    request(length=False)[:-2] + b"Content-Length: 99999999999999999999\r\n\r\n"], ids=["HTTP", "TLS", "length"])
def test_what_is_no_sip_earns_a_stranger_a_ban_and_a_peer_none(junk):
    with running(listed="127.0.0.1/32") as edge:
        edge.proxy.bans.strikes = 3
        told = []
        edge.proxy.on_ban = lambda host, until: told.append((host, until > monotonic_ms()))
        for host in ["127.0.0.1"] * 4 + ["127.0.0.9"] * 3:
            assert told == []
            peer = edge.connect(host)
            peer.send(junk)
            peer.closed()
        assert told == [("127.0.0.9", True)]
        edge.connect("127.0.0.9").closed()
        assert edge.count("connections_refused") == 1
        peer = edge.connect()
        peer.send(request())
        assert statuses(peer.take()) == [200]


def test_a_begun_message_has_to_end():
    with running(message=60) as edge:
        peer = edge.connect()
        data = request()
        peer.send(request(branch="a", call_id="a") + data[:40])
        assert statuses(peer.take()) == [200]
        peer.closed()
        assert edge.count("connections_slow") == 1


def test_one_byte_at_a_time_wins_no_time():
    with running(message=80) as edge:
        peer = edge.connect()

        def trickle():
            with contextlib.suppress(OSError):
                peer.sock.send(b"a")
            peer.read()
            return peer.ended

        edge.until(trickle)
        assert edge.count("connections_slow") == 1


def test_strangers_that_say_nothing_are_ended_and_listed_peers_stay():
    with running(listed="127.0.0.1/32", unlisted_idle=50, idle=60_000) as edge:
        stranger, peer = edge.connect("127.0.0.9"), edge.connect()
        stranger.closed()
        assert edge.count("connections_idle") == 1
        peer.send(request())
        assert statuses(peer.take()) == [200]


def test_a_peer_that_stops_reading_is_ended_and_others_are_not_touched():
    with running(queue=30_000, write=100) as edge:
        deaf, peer = edge.connect(), edge.connect()
        deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        number = 0
        while edge.count("connections_stalled") == 0:
            number += 1
            with contextlib.suppress(BlockingIOError, ConnectionError):
                deaf.send(request(branch=f"d{number}", call_id="a" * 900) * 20)
            peer.send(request(branch=f"p{number}", call_id=f"p{number}"))
            assert statuses(peer.take()) == [200]
        assert edge.count("connections") == 1


def test_a_peer_that_vanishes_leaves_nothing():
    with running() as edge:
        peer = edge.connect()
        peer.send(request()[:50])
        edge.until(lambda: edge.count("connections") == 1)
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        edge.until(lambda: edge.count("connections") == 0)


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
