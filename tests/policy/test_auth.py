"""Who is asked for a password, and what a request with one is worth: wire bytes of challenges and verdicts."""
from collections import Counter

import pytest

from proxy import app
from proxy.config import decode
from proxy.policy.engine import Policy
from proxy.policy.validate import problems_of
from sipcore.stack.verdict import Request, Verdict
from tests.authorizing import answer, parameters

from .sample import BASE, PBX, request

REALM = '[[realm]]\nname = "phones"\nrealm = "example.com"\nusers_env = "TEST_USERS"\n'
GUARDED = BASE.replace('addresses = ["127.0.0.2"]', 'addresses = ["127.0.0.2"]\nauth = "phones"\n'
                       'methods = ["INVITE", "OPTIONS", "REGISTER", "REFER"]')
ROUTE = '[[route]]\nto = "pbx"\nmethods = ["INVITE", "REGISTER"]\n'
URI = "sip:2001@127.0.0.1:5060"


@pytest.fixture(autouse=True)
def _users(monkeypatch):
    monkeypatch.setenv("TEST_USERS", "ann:{PLAIN}secret\nbob:{PLAIN}other\n")


def policy(text: str = REALM + PBX + ROUTE, base: str = GUARDED) -> Policy:
    config = decode(base + text, problems_of, file="edge.toml")
    counters: Counter[str] = Counter()
    return Policy(config, counters, askers=app.askers(config, counters))


def asked(verdict: Verdict) -> dict[str, str]:
    """The first challenge of a verdict."""
    return parameters(verdict.headers.decode().split("\r\n")[0].partition(": ")[2])


def with_answer(challenge: dict[str, str], user: str = "ann", password: str = "secret", count: int = 1, now: int = 0,
                method: str = "INVITE", name: str = "Proxy-Authorization", source: str = "127.0.0.2",
                qop: str = "auth") -> Request:
    line = f"{name}: " + answer(challenge, user, password, method, URI, count=count, qop=qop)
    return at(method, now, source, line)


def at(method: str, now: int, source: str, *lines: str) -> Request:
    """A request at a time, from an address."""
    text = "\r\n".join([
        f"{method} {URI} SIP/2.0", f"Via: SIP/2.0/UDP {source}:5060;branch=z9hG4bK776", "Max-Forwards: 70",
        f"From: <sip:ann@{source}>;tag=1", "To: <sip:2001@127.0.0.1>", "Call-ID: c", f"CSeq: 1 {method}", *lines,
        "Content-Length: 0", "", ""])
    return Request.parse(text.encode("utf-8", "surrogateescape"), group=1, source=(source, 5060), now=now)


def test_a_challenge_for_each_algorithm_in_the_order_of_preference():
    verdict = policy().decide(at("INVITE", 0, "127.0.0.2"))
    assert (verdict.status, verdict.reason) == (407, "Proxy Authentication Required")
    lines = verdict.headers.decode().split("\r\n")
    assert lines.pop() == ""
    assert [line.partition(":")[0] for line in lines] == ["Proxy-Authenticate"] * 2
    found = [parameters(line.partition(": ")[2]) for line in lines]
    assert [one["algorithm"] for one in found] == ["SHA-256", "MD5"]
    assert {one["realm"] for one in found} == {"example.com"}
    assert {one["qop"] for one in found} == {"auth"}
    assert "stale" not in found[0]


@pytest.mark.parametrize("number", [0, 1])
def test_the_right_answer_passes_once(number):
    edge = policy()
    verdict = edge.decide(at("INVITE", 0, "127.0.0.2"))
    challenge = parameters(verdict.headers.decode().split("\r\n")[number].partition(": ")[2])
    passed = edge.decide(with_answer(challenge))
    assert (passed.action, passed.scope, passed.note) == (Verdict.FORWARD, 0, "user ann")
    again = edge.decide(with_answer(challenge))
    assert (again.status, asked(again)["stale"]) == (407, "true")
    assert edge.decide(with_answer(challenge, count=2)).action == Verdict.FORWARD
    assert edge.counters == {"auth.challenged": 1, "auth.passed": 2, "auth.replayed": 1}


@pytest.mark.parametrize(("user", "password"), [("ann", "wrong"), ("nobody", "secret"), ("ann", "other"), ("", "")])
def test_an_unknown_user_and_a_wrong_password_get_the_same(user, password):
    edge = policy()
    challenge = asked(edge.decide(at("INVITE", 0, "127.0.0.2")))
    verdict = edge.decide(with_answer(challenge, user, password))
    new = asked(verdict)
    assert verdict.status == 407
    assert new.pop("nonce") != challenge.pop("nonce")
    assert new == challenge
    assert edge.counters["auth.failed"] == 1
    assert edge.askers.nonces == 0


def test_an_old_nonce_is_stale_and_so_is_that_of_another_address():
    edge = policy()
    challenge = asked(edge.decide(at("INVITE", 0, "127.0.0.2")))
    for now, source in ((300_001, "127.0.0.2"), (0, "127.0.0.9")):
        verdict = edge.decide(with_answer(challenge, now=now, source=source))
        assert asked(verdict)["stale"] == "true"
    assert edge.counters["auth.stale"] == 2
    assert edge.decide(with_answer(challenge, now=300_000)).action == Verdict.FORWARD


def test_guesses_of_one_source_are_bounded_and_harm_no_other():
    edge = policy()
    challenge = asked(edge.decide(at("INVITE", 0, "127.0.0.2")))
    for count in range(10):
        assert edge.decide(with_answer(challenge, password="guess", count=count + 1)).status == 407
    blocked = edge.decide(with_answer(challenge, count=11))
    assert (blocked.status, blocked.headers) == (403, b"")
    other = asked(edge.decide(at("INVITE", 0, "127.0.0.9")))
    assert edge.decide(with_answer(other, source="127.0.0.9")).action == Verdict.FORWARD
    assert edge.decide(with_answer(challenge, count=12, now=10_000)).action == Verdict.FORWARD
    assert edge.counters["auth.blocked"] == 1


def test_who_goes_on_after_too_many_guesses_is_told_of_and_nobody_else():
    edge = policy()
    told: list[str] = []
    edge.askers.on_blocked = told.append
    challenge = asked(edge.decide(at("INVITE", 0, "127.0.0.2")))
    for count in range(1, 14):
        edge.decide(with_answer(challenge, password="guess", count=count))
    assert told == ["127.0.0.2"] * 3
    # A nonce of another address, as in a packet with a forged source, proves nothing.
    for count in range(1, 14):
        edge.decide(with_answer(challenge, password="guess", count=count, source="127.0.0.9"))
    assert told == ["127.0.0.2"] * 3


def test_forged_nonces_spend_nobody_s_attempts():
    edge = policy()
    challenge = asked(edge.decide(at("INVITE", 0, "127.0.0.2")))
    for _ in range(50):
        edge.decide(with_answer(challenge | {"nonce": "x" * 36}, password="guess"))
    assert edge.decide(with_answer(challenge)).action == Verdict.FORWARD


def test_what_cannot_be_read_is_refused():
    edge = policy()
    verdict = edge.decide(at("INVITE", 0, "127.0.0.2", 'Proxy-Authorization: Digest username="ann'))
    assert (verdict.status, verdict.reason) == (400, "Bad Request - authentication parameter malformed")
    assert edge.counters == {"auth.malformed": 1}


def test_an_answer_to_another_server_is_none_to_us():
    edge = policy()
    challenge = asked(edge.decide(at("INVITE", 0, "127.0.0.2")))
    for changed in ({"realm": "trunk"}, {"algorithm": "MD5"}):
        verdict = edge.decide(with_answer(challenge | changed, "nobody"))
        assert verdict.status == 407
    line = "Authorization: " + answer(challenge, "ann", "secret", "INVITE", URI)
    assert edge.decide(at("INVITE", 0, "127.0.0.2", line)).status == 407


def test_the_body_is_protected_where_the_realm_wants_it():
    edge = policy(REALM + "integrity = true\n" + PBX + ROUTE)
    challenge = asked(edge.decide(at("INVITE", 0, "127.0.0.2")))
    assert challenge["qop"] == "auth,auth-int"
    assert edge.decide(with_answer(challenge, qop="auth-int")).action == Verdict.FORWARD
    plain = policy()
    challenge = asked(plain.decide(at("INVITE", 0, "127.0.0.2")))
    assert plain.decide(with_answer(challenge, qop="auth-int")).status == 407


def test_as_the_end_of_a_call_the_edge_asks_with_401():
    edge = policy(REALM + PBX + '[[route]]\nto = "pbx"\ncontrol = true\n')
    verdict = edge.decide(at("INVITE", 0, "127.0.0.2"))
    assert (verdict.status, verdict.headers[:17]) == (401, b"WWW-Authenticate:")
    passed = edge.decide(with_answer(asked(verdict), name="Authorization"))
    assert passed.control


def test_acks_and_requests_inside_dialogs_are_never_asked():
    edge = policy()
    assert edge.decide(at("ACK", 0, "127.0.0.2")).action == Verdict.DROP
    assert edge.decide(request("INFO", group=1, in_dialog=True)).action == Verdict.FORWARD
    assert edge.counters == {}


def test_a_refer_outside_a_dialog_is_asked_as_all_else():
    edge = policy(REALM + PBX + '[[route]]\nto = "pbx"\nmethods = ["REFER"]\n[[refer]]\n')
    refer = "Refer-To: <sip:2001@127.0.0.4>"
    verdict = edge.decide(at("REFER", 0, "127.0.0.2", refer))
    assert verdict.status == 407
    line = "Proxy-Authorization: " + answer(asked(verdict), "ann", "secret", "REFER", URI)
    assert edge.decide(at("REFER", 0, "127.0.0.2", refer, line)).action == Verdict.FORWARD


class TestRoutes:
    def test_a_route_may_ask_by_itself(self):
        text = REALM + PBX + ('[[route]]\nto = "pbx"\nprefixes = ["2"]\nauth = "phones"\n'
                              '[[route]]\nto = "pbx"\n')
        edge = policy(text, BASE)
        verdict = edge.decide(at("INVITE", 0, "127.0.0.2"))
        assert verdict.status == 407
        assert edge.decide(with_answer(asked(verdict))).note == "user ann"
        assert edge.decide(request(uri="sip:3001@127.0.0.1")).action == Verdict.FORWARD

    def test_a_route_may_be_for_some_users_only(self):
        text = REALM + PBX + ('[[route]]\nto = "pbx"\nauth_users = ["b*"]\nrecord_route = false\n'
                              '[[route]]\nto = "pbx"\n')
        edge = policy(text)
        for user, password, taken in (("ann", "secret", True), ("bob", "other", False)):
            verdict = edge.decide(at("INVITE", 0, "127.0.0.2"))
            passed = edge.decide(with_answer(asked(verdict), user, password))
            assert (passed.action, passed.record_route) == (Verdict.FORWARD, taken)

    def test_the_size_check_does_not_ask_again(self):
        edge = policy(REALM + PBX.replace("targets", "mtu = 500\ntargets") + ROUTE)
        challenge = asked(edge.decide(at("INVITE", 0, "127.0.0.2")))
        passed = with_answer(challenge)
        verdict = edge.decide(passed)
        assert edge.oversize(passed, verdict, 900).action == Verdict.FORWARD
        assert edge.counters["auth.passed"] == 1


def test_another_configuration_keeps_nonces_and_counts(monkeypatch):
    config = decode(GUARDED + REALM + PBX + ROUTE, problems_of, file="edge.toml")
    edge = Policy(config, askers=app.askers(config))
    challenge = asked(edge.decide(at("INVITE", 0, "127.0.0.2")))
    assert edge.decide(with_answer(challenge)).action == Verdict.FORWARD
    monkeypatch.setenv("TEST_USERS", "ann:{PLAIN}changed\n")
    after = Policy(config, askers=app.askers(config, before=edge.askers))
    assert asked(after.decide(with_answer(challenge, password="changed"))).get("stale") == "true"
    assert after.decide(with_answer(challenge, password="changed", count=2)).action == Verdict.FORWARD
    assert after.decide(with_answer(challenge, password="secret", count=3)).status == 407
