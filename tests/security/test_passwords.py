"""Digest rows of the attack list: malformed credentials, guesses, replays, and floods that ask for challenges."""
import pytest

from sipcore.wire.message import Message
from tests.authorizing import answer, parameters
from tests.edge import wait_until
from tests.security.range import ASKED, EDGE, reply, request

URI = f"sip:2000@{EDGE[0]}:{EDGE[1]}"
NAME = "Proxy-Authorization"


@pytest.fixture
def caller(ground):
    return ground.party(ASKED)


def counted(ground, name: str, least: int) -> None:
    """Until a counter that is copied once a second has risen so far."""
    wait_until(lambda: ground.rose(name) >= least, f"{name} rises by {least}")


def challenge(caller) -> dict[str, str]:
    caller.send(request(source=ASKED))
    found = Message(caller.expect(b"SIP/2.0 407"))
    return parameters(found.header("Proxy-Authenticate") or "")


def decline(ground) -> bytes:
    """The PBX refuses an INVITE, which is returned."""
    invite = bytes(ground.pbx.expect(b"INVITE"))
    ground.pbx.send(reply(invite, "486 Busy Here"))
    ground.pbx.expect(b"ACK")
    return invite


def attempt(caller, value: str) -> bytes:
    """The final answer to an INVITE with these credentials, or the INVITE where it passes."""
    caller.send(request(source=ASKED, extra=((NAME, value),)))
    return bytes(caller.expect(b"SIP/2.0"))


@pytest.mark.parametrize("value", [
    'Digest username="ann', 'Digest username="ann", realm="example.com', 'Digest "', "Digest =", "Digest ,", "Digest",
    'Digest username="ann\\', 'Digest username="' + "a" * 5000 + '"', "Digest " + ", ".join(["realm=x"] * 500),
    "Digest " + ", ".join(f"a{number}=x" for number in range(500)), 'Digest realm="example.com", realm="example.com"',
    'Digest username="ann", realm="example.com", nonce="n", uri="sip:x", response="0", qop=auth, cnonce="c", nc=1',
    'Digest username="ann", realm="example.com", nonce="n", uri="sip:x", response="0", qop=auth, cnonce="c", '
    "nc=" + "f" * 2000,
    'Digest username="ann", realm="example.com", nonce="n", uri="sip:x", response="0", qop=auth, cnonce="c", nc=-1',
    '"" ' * 1000, "Digest username=\x01",
])
def test_malformed_credentials_are_refused(ground, caller, value):
    assert attempt(caller, value).startswith(b"SIP/2.0 400 ")
    ground.nothing_forwarded()


@pytest.mark.parametrize("count", ["ffffffff", "00000000", "FFFFFFFF"])
def test_huge_nonce_counts_harm_nothing(ground, caller, count):
    good = answer(challenge(caller), "ann", "secret", "INVITE", URI)
    assert attempt(caller, good.replace("00000001", count)).startswith(b"SIP/2.0 407 ")
    ground.nothing_forwarded()
    counted(ground, "auth_failed", 1)


def test_many_lines_of_credentials_cost_no_more_than_a_few(ground, caller):
    lines = tuple((NAME, f'Digest username="u{number}", realm="example.com", nonce="n", uri="sip:x", response="0", '
                         'algorithm=MD5, qop=auth, cnonce="c", nc=00000001') for number in range(60))
    caller.send(request(source=ASKED, extra=lines))
    caller.expect(b"SIP/2.0 407 ")
    ground.nothing_forwarded()


def test_a_replay_passes_once(ground, caller):
    """Somebody has heard a request on its way, and sends it again in a call of his own."""
    good = answer(challenge(caller), "ann", "secret", "INVITE", URI)
    assert attempt(caller, good).startswith(b"SIP/2.0 100 ")
    decline(ground)
    caller.send(request(source=ASKED, extra=((NAME, good),)))
    again = Message(caller.expect(b"SIP/2.0 407"))
    assert parameters(again.header("Proxy-Authenticate") or "")["stale"] == "true"
    ground.nothing_forwarded()
    counted(ground, "auth_replayed", 1)


def test_who_overhears_a_nonce_elsewhere_has_nothing_of_it(ground, caller):
    stolen = answer(challenge(caller), "ann", "secret", "INVITE", URI)
    ground.peer.send(request(extra=((NAME, stolen),)))
    # A peer that is not asked is not: what it carries of our realm stays here all the same.
    assert b"example.com" not in decline(ground)


def test_a_flood_without_credentials_keeps_nothing(ground, caller):
    before = ground.edge.stats()["transactions"]
    for number in range(3000):
        caller.send(request(source=ASKED))
        if number % 200 == 0:
            ground.mark()
            caller.take()
    ground.mark()
    counted(ground, "auth_challenged", 3000)
    assert ground.edge.stats()["transactions"] <= before + 50
    ground.nothing_forwarded()


def test_guesses_are_bounded(ground, caller):
    """The last of this file: the source is shut out for a while then."""
    found = challenge(caller)
    answers = [attempt(caller, answer(found, "ann", f"guess {number}", "INVITE", URI, count=number + 1))
               for number in range(20)]
    status = [Message(one).status for one in answers]
    assert set(status) == {407, 403}
    assert status.count(407) <= 10
    assert attempt(caller, answer(found, "ann", "secret", "INVITE", URI, count=99)).startswith(b"SIP/2.0 403 ")
    ground.nothing_forwarded()
    counted(ground, "auth_blocked", 11)
