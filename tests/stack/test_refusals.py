"""The answer to a malformed request is itself a well-formed message, whatever the request's headers hold."""
import pytest

from sipcore.wire.message import Message
from tests.endpoints import Bench


@pytest.mark.parametrize(("old", "new"), [
    (b"To: ", b"To: \0"), (b"From: <", b'From: "a\rb" <'), (b"Call-ID: c1", b"Call-ID: c\x7f1\r2"),
    (b";rport", b";rport;x=\x01"), (b"CSeq: 1 ", b"CSeq: 1\0 "), (b"To: ", b"To :\r\n \0\t\r\n\t"),
    (b"CSeq: ", b"Call-ID: c2\r\nCSeq: "), (b"Call-ID: ", b"To: <sip:z@h>\r\nf: <sip:z@h>;tag=0\r\nCall-ID: "),
])
def test_the_answer_can_be_read(old, new):
    bench = Bench()
    alice = bench.phone("alice", "127.0.0.2")
    request = alice.build("OPTIONS", "sip:bob@127.0.0.3")
    assert old in request
    alice.send(request.replace(old, new, 1))
    bench.run()
    (packet,) = alice.port.inbox
    answer = Message(packet.data, False)
    assert answer.status == 400
    assert [len(answer.headers(name)) for name in ("From", "To", "Call-ID", "CSeq")] == [1, 1, 1, 1]
    bench.empty()
