"""Internal headers never leave to a peer that is not trusted: on wire bytes, in every spelling, in every message."""
import re

import pytest

from sipcore.base.trie import Trie
from sipcore.stack.admission import Admission
from sipcore.stack.verdict import Target, Verdict
from tests.endpoints import METHODS, Bench

INTERNAL = ("X-Internal-*", "P-Asserted-Identity", "Subject", "Session-Expires")
SPELLINGS = [
    b"X-Internal-Id: secret\r\n", b"x-internal-id: secret\r\n", b"X-INTERNAL-: secret\r\n", b"X-Internal-A:secret\r\n",
    b"X-Internal-Id : secret\r\n", b"X-Internal-Id\t \t: secret\r\n", b"X-Internal-Id:\r\n secret\r\n",
    b"X-Internal-Id: a,\r\n\tsecret\r\n", b"X-Internal-Id : a\r\n   b\r\n secret\r\n",
    b"Subject: secret\r\n", b"s: secret\r\n", b"S : secret\r\n", b"sUBJECT:\r\n\t secret\r\n",
    b"x: secret\r\n", b"X: secret\r\n", b"session-expires: secret\r\n",
    b"P-Asserted-Identity: <sip:secret@h>\r\nP-ASSERTED-IDENTITY: <tel:secret>\r\n",
]
KEPT = b"X-Internals: kept\r\nX-Intern: kept\r\nSubjects: kept\r\n"


@pytest.fixture
def bench():
    """alice and carol are trusted, bob is not."""
    admission = Admission([Trie([("127.0.0.0/8", 0), ("127.0.0.2/32", 1), ("127.0.0.4/32", 1)])])
    admission.add_group("allow", METHODS)
    admission.add_group("allow", METHODS, trusted=True)
    return Bench(admission=admission, internal=INTERNAL)


def spelled(data, spelling, first):
    """The message with the lines in front of all others, or behind them."""
    if first:
        return data.replace(b"\r\n", b"\r\n" + spelling + KEPT, 1)
    return data.replace(b"\r\n\r\n", b"\r\n" + KEPT + spelling + b"\r\n", 1)


def clean(data):
    assert b"secret" not in data.lower()
    assert data.count(b": kept\r\n") == 3
    return data


def everywhere(bench, caller, callee, spelling, first, seen):
    """Requests both ways inside a call, their answers and ACKs, each shown to `seen` as it arrived."""
    one, other = bench.call(caller, callee)
    for dialog, phone in ((one, callee), (other, caller)):
        for method in ("INFO", "REFER", "NOTIFY", "INVITE"):
            dialog.phone.send(spelled(dialog.request(method), spelling, first))
            bench.run()
            request = phone.take(method)
            seen(request.data)
            bench.link.accept = lambda packet, phone=phone: packet.source != (phone.host, phone.number)
            answer = phone.answer(request, 200)
            bench.link.accept = None
            phone.send(spelled(answer, spelling, first))
            bench.link.run()
            (answer,) = [answer for answer in dialog.phone.received() if answer.name == "200"]
            seen(answer.data)
        dialog.phone.send(spelled(dialog.request("ACK"), spelling, first))
        bench.run()
        seen(phone.take("ACK").data)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("caller", ["127.0.0.2", "127.0.0.3"])
def test_where_one_of_both_is_not_trusted_they_are_gone(bench, caller, spelling, first):
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    everywhere(bench, *((alice, bob) if caller == alice.host else (bob, alice)), spelling, first, clean)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_between_trusted_peers_they_stay(bench, spelling):
    seen: list[bytes] = []
    alice, carol = bench.phone("alice", "127.0.0.2"), bench.phone("carol", "127.0.0.4")
    everywhere(bench, alice, carol, spelling, False, seen.append)
    assert len(seen) == 18
    assert all(b"secret" in data for data in seen)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("status", [180, 200, 486, 503])
def test_responses_of_a_first_invite(spelling, status):
    admission = Admission([Trie([("127.0.0.0/8", 0), ("127.0.0.3/32", 1)])])
    admission.add_group("allow", METHODS)
    admission.add_group("allow", METHODS, trusted=True)
    bench = Bench(admission=admission, internal=INTERNAL)
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    sent = spelled(alice.request("INVITE", bob.uri, call_id="other"), spelling, False)
    bench.run()
    invite = bob.take("INVITE")
    bench.link.accept = lambda packet: packet.source != ("127.0.0.3", 5060)
    data = bob.answer(invite, status)
    bench.link.accept = None
    bob.send(spelled(data, spelling, True))
    bench.run()
    clean(alice.received()[-1].data)
    alice.send(sent.replace(b"other", b"third").replace(b"alice-1", b"third"))
    bench.run()
    clean(bob.received()[-1].data)     # bob is trusted here, alice is not


def test_they_are_gone_at_the_second_target_too():
    admission = Admission([Trie([("127.0.0.0/8", 0)])])
    admission.add_group("allow", METHODS)
    bench = Bench(Verdict(targets=(Target("127.0.0.3"), Target("127.0.0.4"))), admission=admission, internal=INTERNAL)
    alice, bob, carol = (bench.phone(name, host) for name, host in (
        ("alice", "127.0.0.2"), ("bob", "127.0.0.3"), ("carol", "127.0.0.4")))
    alice.send(spelled(alice.build("INVITE", "sip:x@example.com"), SPELLINGS[8], False))
    bench.run()
    bob.answer(bob.take("INVITE"), 503)
    bench.run()
    clean(carol.take("INVITE").data)
    assert bob.names() == ["ACK"]


def test_a_header_that_only_ends_like_one_stays(bench):
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    alice.request("OPTIONS", bob.uri, headers=[("Not-X-Internal-Id", "kept"), ("X-Note", "X-Internal-Id: kept")])
    bench.run()
    assert len(re.findall(rb"kept", bob.take("OPTIONS").data)) == 2
