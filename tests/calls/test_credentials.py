"""RFC 7616 3.4: credentials used again have another count and another cnonce, and are for what they are sent with."""
import pytest

from tests.anchor.bridges import Table
from tests.anchor.secure import OFFER, PASS
from tests.authorizing import parameters
from tests.endpoints import Received

from .challenging import ACCOUNT, TRUNK, challenge, refuse, right
from .scene import AGENT, CALLER, Scene, sdp
from .stage import TYPE, Stage

NAME = "Proxy-Authorization"
RELIABLE = [*TYPE, ("Require", "100rel")]


@pytest.fixture(autouse=True)
def _secret(monkeypatch):
    monkeypatch.setenv("TEST_SECRET", "secret")


def counted(*requests: Received) -> list[int]:
    """The nonce counts of requests; each has a cnonce of its own, and one answer."""
    found = []
    for request in requests:
        [value] = request.headers(NAME)
        found.append(parameters(value))
    assert len({one["cnonce"] for one in found}) == len(found)
    assert len({one["nonce"] for one in found}) == 1
    return [int(one["nc"], 16) for one in found]


def test_a_longer_session_interval_is_asked_for_with_credentials_of_its_own():
    edge = Scene(base=TRUNK)
    [second] = refuse(edge, edge.invite(), challenge())
    [third] = refuse(edge, second, [("Min-SE", "3600")], 422)
    [fourth] = refuse(edge, third, [("Min-SE", "7200")], 422)
    assert fourth.header("Session-Expires") == "7200"
    assert [right(one) for one in (second, third, fourth)] == [True] * 3
    assert counted(second, third, fourth) == [1, 2, 3]
    edge.agent.answer(fourth, 200, body=sdp(AGENT), headers=TYPE)
    edge.run()
    # RFC 3261 22.1: those of the INVITE that it acknowledges.
    assert edge.agent.take("ACK").headers(NAME) == fourth.headers(NAME)


@pytest.mark.parametrize("qop", ["auth", "auth-int"])
def test_the_second_offer_of_srtp_has_credentials_for_its_body(qop):
    with Stage(base=TRUNK, table=Table(srtp=(PASS, OFFER))) as edge:
        [second] = refuse(edge, edge.invite(), challenge(qop=qop))
        [third] = refuse(edge, second, [], 488)
        assert b"RTP/SAVP" in third.message.body
        assert right(second, body=second.message.body)
        assert right(third, body=third.message.body)
        assert counted(second, third) == [1, 2]
        refuse(edge, third, [], 486)


def test_a_body_that_becomes_shorter_because_of_the_credentials():
    """What the size policy sends is what they are for."""
    numbers = range(102, 114)
    many = sdp(CALLER, payloads=" ".join(map(str, (0, *numbers)))) + b"".join(
        b"a=rtpmap:%d codec-%d/8000\r\n" % (number, number) for number in numbers)
    size = len(Scene(base=TRUNK).invite(body=many).data)
    narrow = f'mtu = {size + 220}\nsize_policy = ["codecs", "refuse"]\ncodecs = ["PCMU"]\n'
    edge = Scene(base=TRUNK.replace(ACCOUNT, ACCOUNT + narrow))
    first = edge.invite(body=many)
    [second] = refuse(edge, first, challenge(qop="auth-int"))
    assert len(second.message.body) < len(first.message.body)
    assert right(second, body=second.message.body)
    assert counted(second) == [1]


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_body_inside_a_dialog_that_becomes_shorter_because_of_the_credentials(method):
    """What the size policy sends is what they are for there, too."""
    numbers = range(102, 114)
    many = sdp(CALLER, version=2, payloads=" ".join(map(str, (0, *numbers)))) + b"".join(
        b"a=rtpmap:%d codec-%d/8000\r\n" % (number, number) for number in numbers)

    def challenged(more: str) -> tuple[Received, Received]:
        """The request as it is sent first, and with credentials."""
        edge = Scene(base=TRUNK.replace(ACCOUNT, ACCOUNT + more))
        edge.agent.answer(edge.invite(), 200, body=sdp(AGENT), headers=[*TYPE, ("Allow", "INVITE, ACK, BYE, UPDATE")])
        edge.run()
        edge.agent.take("ACK")
        one = edge.caller.caller_dialog(edge.caller.take("100", "200"))
        one.send("ACK")
        one.send(method, headers=TYPE, body=many)
        edge.run()
        first = edge.agent.take(method)
        [second] = refuse(edge, first, challenge(qop="auth-int"))
        return first, second

    size = len(challenged("mtu = 9000\n")[0].data)
    first, second = challenged(f'mtu = {size + 220}\nsize_policy = ["codecs", "refuse"]\ncodecs = ["PCMU"]\n')
    assert len(first.data) == size
    assert len(second.message.body) < len(first.message.body)
    assert right(second, body=second.message.body)
    assert counted(second) == [1]


class TestPrack:
    def progress(self, edge: Scene, invite: Received, rseq: int) -> Received:
        """The agent rings reliably; the PRACK."""
        edge.agent.answer(invite, 183, body=sdp(AGENT), headers=[*RELIABLE, ("RSeq", str(rseq))])
        edge.run()
        return edge.agent.take("PRACK")

    def test_it_has_credentials_of_its_own(self):
        edge = Scene(base=TRUNK)
        [invite] = refuse(edge, edge.invite(), challenge())
        first = self.progress(edge, invite, 1)
        edge.agent.answer(first, 200)
        second = self.progress(edge, invite, 2)
        assert right(first)
        assert right(second)
        assert counted(invite, first, second) == [1, 2, 3]

    def test_a_nonce_that_became_stale_is_answered(self):
        edge = Scene(base=TRUNK)
        [invite] = refuse(edge, edge.invite(), challenge())
        first = self.progress(edge, invite, 1)
        [again] = refuse(edge, first, challenge("n2", stale=True))
        assert right(again)
        assert counted(again) == [1]

    def test_it_has_none_where_it_does_not_go_to_the_trunk(self):
        edge = Scene(base=TRUNK)
        [invite] = refuse(edge, edge.invite(), challenge())
        edge.agent.contact = "<sip:thief@127.0.0.5>"
        edge.agent.answer(invite, 183, body=sdp(AGENT), headers=[*RELIABLE, ("RSeq", "1")])
        edge.run()
        assert edge.second.take("PRACK").headers(NAME) == []
