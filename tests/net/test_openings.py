"""Connections that begin: targets and what becomes of those that fail, limits for those that come in, and bans."""
import asyncio

import pytest

from sipcore.net.endpoint import monotonic_ms
from tests.endpoints import SDP
from tests.net.streams import Listening, answer, request, running, statuses


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
