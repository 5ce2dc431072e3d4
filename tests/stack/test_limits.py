"""Messages at the limits of what is taken: header lines, continuation lines, control characters, long lines."""

import re
from dataclasses import replace

import pytest

from sipcore.stack.verdict import Verdict
from tests.endpoints import Bench, Received


def test_a_request_with_as_many_headers_as_allowed_is_still_ours_to_end():
    """Our copy has more headers than the limit: ACK, CANCEL and 408 are made from it all the same."""
    bench = Bench(Verdict(insert=b"".join(b"X-In-%d: 1\r\n" % number for number in range(20))))
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    many = [(f"X-{number}", "1") for number in range(120)]
    for call_id in ("busy", "silent", "cancelled"):
        invite = alice.request("INVITE", bob.uri, headers=many, call_id=call_id)
        bench.run()
        packet = bob.port.inbox.pop()
        assert packet.data.count(b"\r\nX-") == 140
        received = Received(replace(packet, data=re.sub(rb"\r\nX-[^\r]*", b"", packet.data)))
        if call_id == "busy":
            bob.answer(received, 486)
            bench.run()
            assert bob.names() == ["ACK"]
        elif call_id == "silent":
            bench.run(32_000)
            assert "408" in alice.names()
            bob.port.inbox.clear()
        else:
            bob.answer(received, 180)
            alice.cancel(invite)
            bench.run()
            assert bob.names() == ["CANCEL"]
    bench.empty()


def test_headers_above_the_limit_are_refused():
    bench = Bench()
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    alice.request("OPTIONS", bob.uri, headers=[("X-A", "1")] * 130)
    bench.run()
    assert alice.take("400").message.reason == "Bad Request - more headers than the limit"
    with pytest.raises(ValueError, match="200"):
        bench.proxy.set_limits(headers=201)
    bench.proxy.set_limits(headers=200, line=100)
    alice.request("OPTIONS", bob.uri, headers=[("X-A", "1")] * 180, call_id="more")
    bench.run()
    assert len(bob.port.inbox) == 1
    alice.request("OPTIONS", bob.uri, headers=[("X-A", "1" * 100)])
    bench.run()
    assert alice.take("400").message.reason == "Bad Request - line longer than the limit"


def test_continuation_lines_count_as_headers():
    bench = Bench()
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    for folds, answer in ((100, "100"), (130, "400"), (700, "400")):
        alice.request("INVITE", bob.uri, headers=[("X-A", "1" + "\r\n 1" * folds)], call_id=f"c{folds}")
        bench.run()
        (received,) = alice.received()
        assert received.name == answer
        assert (received.message.reason == "Bad Request - more headers than the limit") == (answer == "400")
    assert b" 1 1 1" in bob.take("INVITE").data


@pytest.mark.parametrize("name", ["X-A", "To"])
def test_a_message_full_of_control_characters_is_answered(name):
    bench = Bench()
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    data = alice.build("INVITE", bob.uri, headers=[("X-A", "x")])
    line = f"\r\n{name}: ".encode()
    alice.send(data.replace(line, line + b"a\x01" * 3000))
    bench.run()
    (answer,) = alice.port.inbox
    assert answer.data.startswith(b"SIP/2.0 400 Bad Request - ")
    assert b"\x01" not in answer.data
    assert bob.names() == []
