"""What is read of connections: a fair share of each wake-up, and messages that do not come to their end."""
import contextlib
import socket

from tests.net.streams import request, running, statuses


def test_many_busy_connections_share_a_wake_up():
    """A turn has a few wake-ups, each takes 128 KiB and one read; who went without is the first of the next one."""
    with running() as edge:
        peers = [edge.connect() for _ in range(16)]
        data = request("MESSAGE", body=b"x" * 500)
        for peer in peers:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            for number in range(100):
                peer.send(request("MESSAGE", branch=f"{id(peer)}-{number}", call_id=f"{id(peer)}-{number}",
                                  body=b"x" * 500))
        most = last = 0
        waited = False
        while last < 100 * len(peers):
            edge.turn(1)
            most, last = max(most, edge.count("stream_messages_in") - last), edge.count("stream_messages_in")
            for peer in peers:
                peer.read()
            if not all(peer.frames for peer in peers):
                # Nobody has two reads before another one had one.
                waited = True
                assert max(len(peer.frames) for peer in peers) <= (1 << 16) // len(data) + 1
        assert waited
        assert most <= 4 * ((1 << 17) + (1 << 16)) // len(data)


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
