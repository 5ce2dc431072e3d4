"""What goes out over connections to peers that stop reading, have said their last word, or are gone."""
import contextlib
import socket
import struct

from sipcore.stack.verdict import Target, Verdict
from tests.endpoints import SDP
from tests.net.streams import Listening, answer, request, running, statuses


def test_a_last_word_is_answered():
    with running() as edge:
        peer = edge.connect()
        peer.send(request())
        peer.sock.shutdown(socket.SHUT_WR)
        assert statuses(peer.take()) == [200]
        peer.closed()
        edge.until(lambda: edge.count("connections") == 0)


def test_a_peer_that_has_said_its_last_word_is_told_the_answer_that_comes_later():
    holder: list[Listening] = []
    with running(lambda edge: holder[0].verdict()) as edge:
        target = Listening(edge)
        holder.append(target)
        peer = edge.connect()
        peer.send(request("INVITE", body=SDP), request("MESSAGE", branch="2", call_id="call-2"))
        peer.sock.shutdown(socket.SHUT_WR)
        far = target.accept()
        invite, message = far.take(2)
        far.send(answer(message))
        assert sorted(statuses(peer.take(2))) == [100, 200]
        far.send(answer(invite, 180, "Ringing"))
        assert statuses(peer.take()) == [180]
        assert edge.count("connections") == 2
        far.send(answer(invite))
        assert statuses(peer.take()) == [200]
        # Nothing more is owed.
        peer.closed()
        edge.until(lambda: edge.count("connections") == 1)
        assert edge.count("stream_unsent") == 0


def test_an_answer_that_a_peer_has_not_waited_for_goes_to_its_via():
    """RFC 3261 18.2.2. A peer that reads on and one that has gone look alike until something is sent."""
    holder: list[Listening] = []
    with running(lambda edge: holder[0].verdict()) as edge:
        target, back = Listening(edge), Listening(edge)
        holder.append(target)
        peer = edge.connect()
        peer.send(request("MESSAGE", port=back.address[1]))
        far = target.accept()
        message, = far.take()
        peer.close()
        edge.turn()
        far.send(answer(message))
        assert statuses(back.accept().take()) == [200]


def test_a_peer_that_has_said_its_last_word_is_asked_nothing_and_waits_no_longer_than_an_idle_one():
    holder: list[Target] = []
    with running(lambda edge: Verdict(targets=(holder[0],)), idle=300) as edge:
        peer, other = edge.connect(), edge.connect()
        host, port = peer.sock.getsockname()
        holder.append(Target(host, port, 0, transport="tcp"))
        # What the first one asks goes to itself, over its own connection, and nobody answers it.
        peer.send(request("INVITE", body=SDP))
        assert sorted(message.split(b" ", 1)[0] for message in peer.take(2)) == [b"INVITE", b"SIP/2.0"]
        peer.sock.shutdown(socket.SHUT_WR)
        edge.turn()
        other.send(request("MESSAGE", branch="2", call_id="call-2"))
        assert statuses(other.take()) == [503]
        peer.closed()
        assert edge.count("connections_idle") >= 1


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
