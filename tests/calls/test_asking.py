"""Callers that have to prove who they are, on forwarded and on controlled calls: what they and the PBX see."""
import pytest

from tests.authorizing import credentials

from .scene import AGENT, CALLER, CONFIG, ROUTE, Scene, sdp

REALM = '[[realm]]\nname = "phones"\nrealm = "example.com"\nusers_env = "TEST_USERS"\n'
ASKED = CONFIG.replace('addresses = ["127.0.0.2"]', 'addresses = ["127.0.0.2"]\nauth = "phones"\n'
                       'methods = ["INVITE", "REGISTER"]')
FORWARDED = ROUTE.replace("control = true\n", 'methods = ["INVITE", "REGISTER"]\n')
URI = "sip:bot@127.0.0.1"
TYPE = ("Content-Type", "application/sdp")


@pytest.fixture(autouse=True)
def _users(monkeypatch):
    monkeypatch.setenv("TEST_USERS", "ann:{PLAIN}secret\n")


class Asking(Scene):
    caller_status: str
    text: str

    def __init__(self) -> None:
        super().__init__(REALM + self.text, base=ASKED)


class Forwarded(Asking):
    caller_status = "407"
    text = FORWARDED


class Controlled(Asking):
    caller_status = "401"
    text = ROUTE


def proven(edge: Asking, *more: tuple[str, str], password: str = "secret") -> tuple[str, str]:
    """The caller's INVITE, challenged and repeated with credentials, which are returned."""
    invite = edge.caller.request("INVITE", URI, call_id="c", body=sdp(CALLER), headers=[TYPE])
    edge.run()
    challenge = edge.caller.take(edge.caller_status)
    edge.caller.ack(invite, challenge)
    header = credentials(challenge, "ann", password, "INVITE", URI)
    edge.caller.request("INVITE", URI, call_id="c", cseq=2, body=sdp(CALLER), headers=[TYPE, header, *more])
    edge.run()
    return header


@pytest.mark.parametrize("kind", [Forwarded, Controlled])
def test_a_call_with_credentials(kind):
    edge = kind()
    other = ("Proxy-Authorization", 'Digest username="x", realm="pbx", nonce="n", uri="sip:x", response="0"')
    header = proven(edge, other)
    invite = edge.agent.take("INVITE")
    assert header[1].encode() not in invite.data
    assert b"example.com" not in invite.data
    # Forwarded, what is for others passes; a leg of the edge's own has credentials of its own alone.
    assert invite.headers("Proxy-Authorization") == ([other[1]] if kind is Forwarded else [])
    edge.agent.answer(invite, 200, body=sdp(AGENT), headers=[TYPE])
    edge.run()
    one = edge.caller.caller_dialog(edge.caller.take("100", "200"))
    one.send("ACK", headers=[header])
    edge.run()
    assert b"example.com" not in edge.agent.take("ACK").data
    one.send("INVITE", headers=[TYPE, header], body=sdp(CALLER, version=2))
    edge.run()
    again = edge.agent.take("INVITE")
    assert b"example.com" not in again.data
    edge.agent.answer(again, 200, body=sdp(AGENT, version=2), headers=[TYPE])
    edge.run()
    edge.caller.take("100", "200")
    one.send("ACK")
    one.send("BYE", headers=[header])
    edge.run()
    received = edge.agent.received()
    assert [one.name for one in received] == ["ACK", "BYE"]
    assert b"example.com" not in received[1].data
    edge.agent.answer(received[1], 200)
    edge.run()
    edge.over()


@pytest.mark.parametrize("kind", [Forwarded, Controlled])
def test_without_them_nothing_is_kept_and_nobody_is_called(kind):
    edge = kind()
    for number in range(100):
        edge.caller.request("INVITE", URI, call_id=f"c{number}", body=sdp(CALLER), headers=[TYPE])
    edge.run()
    assert set(edge.caller.names()) == {edge.caller_status}
    assert edge.proxy.live == 0
    assert edge.proxy.pool.live == (0, 0, 0)
    assert edge.calls.all == {}
    assert edge.policy.askers.nonces == 0
    assert edge.agent.names() == []
    proven(edge, password="wrong")
    assert edge.caller.names() == [edge.caller_status]
    assert edge.agent.names() == []
    assert edge.proxy.live == 0


def test_a_register_is_asked_by_a_proxy():
    """The PBX is the registrar, whose own challenge (401) passes beside ours."""
    edge = Forwarded()
    uri = "sip:127.0.0.1"
    edge.caller.request("REGISTER", uri, call_id="r")
    edge.run()
    challenge = edge.caller.take("407")
    ours = credentials(challenge, "ann", "secret", "REGISTER", uri)
    theirs = ("Authorization", 'Digest username="ann", realm="pbx", nonce="n", uri="sip:x", response="0"')
    edge.caller.request("REGISTER", uri, call_id="r", cseq=2, headers=[theirs, ours])
    edge.run()
    register = edge.agent.take("REGISTER")
    assert register.header("Authorization") == theirs[1]
    assert register.header("Proxy-Authorization") is None


def test_the_call_s_log_line_names_the_user():
    edge = Forwarded()
    edge.proxy.records.journal.enabled = True
    proven(edge)
    edge.agent.answer(edge.agent.take("INVITE"), 486)
    edge.run(1000)
    assert b'"note":"user ann"' in bytes(edge.proxy.records.journal.take())
