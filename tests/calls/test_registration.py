"""The edge as a user of its trunk (RFC 3261 10): registered, refreshed, refused, taken back, on wire bytes."""
import pytest

from proxy.calls.registration import granted
from proxy.events import ListRegistrations
from proxy.policy.engine import Policy
from sipcore.wire.message import Message
from tests.authorizing import answer, parameters
from tests.endpoints import Received, build

from .challenging import TRUNK, challenge
from .scene import AGENT, Scene, config_of, sdp

REGISTRATION = '[[registration]]\nupstream = "agent"\naor = "sip:edge@trunk.example"\n'
ROUTE = '[[route]]\nto = "pbx"\ncontrol = true\n'
CONTACT = "<sip:edge@127.0.0.1:5060>"


@pytest.fixture(autouse=True)
def _secret(monkeypatch):
    monkeypatch.setenv("TEST_SECRET", "secret")


class Registering(Scene):
    """The agent's address is the trunk. Chance is always the middle."""

    def __init__(self, more: str = "", base: str = TRUNK):
        super().__init__(REGISTRATION + more + ROUTE, base=base)
        self.lines: list[tuple[str, str, dict]] = []
        self.calls.log = lambda level, event, **fields: self.lines.append((level, event, fields))
        self.calls.registrations.between = lambda low, high: (low + high) / 2

    def seconds(self, count: float) -> None:
        """What a worker does once a second."""
        for _ in range(int(count)):
            self.run(1000)
            self.tick()

    def tick(self) -> None:
        self.proxy.advance(self.link.now)
        self.calls.registrations.advance(self.link.now)
        self.run()

    def asked(self) -> Received:
        self.tick()
        return self.agent.take("REGISTER")

    def sent(self) -> list[Received]:
        """REGISTERs that arrived, each once."""
        found = {one.message.branch: one for one in self.agent.received()}
        assert {one.name for one in found.values()} <= {"REGISTER"}
        return list(found.values())

    def register(self) -> Received:
        [found] = self.sent()
        return found

    def grant(self, request: Received, expires: int = 600, *contacts: str) -> None:
        given = contacts or (f"{CONTACT};expires={expires}",)
        self.agent.answer(request, 200, headers=[("Contact", value) for value in given])
        self.run()

    def registered(self, expires: int = 600) -> Received:
        request = self.asked()
        self.grant(request, expires)
        return request

    @property
    def one(self):
        [found] = self.calls.obey(ListRegistrations(ask=1)).registrations
        return found


def test_a_register_says_who_where_and_for_how_long():
    edge = Registering()
    request = edge.asked()
    message = request.message
    assert message.uri == "sip:trunk.example"
    assert (request.header("To"), request.header("From")) == (
        "<sip:edge@trunk.example>", f"<sip:edge@trunk.example>;tag={message.from_tag}")
    assert (request.headers("Contact"), request.header("Expires")) == ([CONTACT], "600")
    assert edge.one.state == "trying"
    edge.grant(request)
    assert (edge.one.state, edge.one.expires, edge.one.status) == ("registered", 600_000 + edge.link.now, 200)
    assert edge.calls.statistics()["registrations_up"] == 1
    assert [event for _, event, _ in edge.lines] == ["registered"]


def test_it_is_refreshed_before_what_was_granted_is_over():
    edge = Registering()
    first = edge.registered(100)
    edge.seconds(74)
    assert edge.agent.names() == []
    edge.seconds(2)
    again = edge.register()
    assert again.message.call_id == first.message.call_id
    assert again.message.cseq[0] == first.message.cseq[0] + 1
    assert edge.one.state == "registered"
    edge.grant(again, 100)
    assert edge.calls.counters["registrations_registered"] == 1


def test_a_challenge_is_answered_with_the_upstream_s_credentials():
    edge = Registering()
    first = edge.asked()
    edge.agent.answer(first, 401, headers=challenge(status=401))
    edge.run()
    again = edge.agent.take("REGISTER")
    found = parameters(again.header("Authorization") or "")
    assert answer(found, "edge", "secret", "REGISTER", "sip:trunk.example", cnonce=found["cnonce"]).find(
        found["response"]) > 0
    assert (again.message.call_id, again.message.cseq[0]) == (first.message.call_id, 2)
    edge.grant(again)
    assert edge.one.state == "registered"


def test_several_challenges_of_which_one_is_ours():
    edge = Registering()
    edge.agent.answer(edge.asked(), 407, headers=[
        *challenge("else", realm="else"), *challenge("new", algorithm="SHA-512-256", status=401),
        *challenge("ours", status=401)])
    edge.run()
    again = edge.agent.take("REGISTER")
    assert again.headers("Proxy-Authorization") == []
    (value,) = again.headers("Authorization")
    assert (parameters(value)["realm"], parameters(value)["nonce"]) == ("trunk", "ours")
    edge.grant(again)
    assert edge.one.state == "registered"


def test_a_wrong_password_is_tried_once_and_then_waited_with():
    edge = Registering()
    edge.agent.answer(edge.asked(), 401, headers=challenge(status=401))
    edge.run()
    edge.agent.answer(edge.agent.take("REGISTER"), 401, headers=challenge("n2", status=401))
    edge.run()
    assert edge.agent.names() == []
    assert (edge.one.state, edge.one.status, edge.one.failures) == ("failed", 401, 1)
    level, event, fields = edge.lines[-1]
    assert (level, event, fields["status"], fields["again_in"]) == ("warning", "registration failed", 401, 26)


def test_pauses_double_up_to_a_bound():
    edge = Registering("retry = 10\nlongest_retry = 60\n")
    pauses = []
    for _ in range(6):
        edge.tick()
        edge.agent.answer(edge.register(), 403)
        edge.run()
        pauses.append(edge.lines[-1][2]["again_in"])
        edge.run(1000 * (pauses[-1] - 1))
        edge.tick()
        assert edge.sent() == []
        edge.run(2000)
    assert pauses == [9, 18, 35, 52, 52, 52]


def test_retry_after_is_waited_for():
    edge = Registering()
    edge.agent.answer(edge.asked(), 500, headers=[("Retry-After", "100 (busy)")])
    edge.run()
    assert edge.lines[-1][2]["again_in"] == 100
    edge.seconds(98)
    assert edge.agent.names() == []
    edge.seconds(3)
    edge.register()


def test_a_longer_interval_is_asked_for_where_the_trunk_wants_it():
    edge = Registering("expires = 60\n")
    edge.agent.answer(edge.asked(), 423, headers=[("Min-Expires", "900")])
    edge.run()
    again = edge.agent.take("REGISTER")
    assert again.header("Expires") == "900"
    edge.agent.answer(again, 423, headers=[("Min-Expires", "1800")])
    edge.run()
    assert edge.agent.names() == []
    assert edge.one.state == "failed"


@pytest.mark.parametrize("least", ["", "x", "60", "0", "99999999", "9" * 50])
def test_a_423_that_makes_no_sense_is_a_refusal(least):
    edge = Registering("expires = 60\n")
    edge.agent.answer(edge.asked(), 423, headers=[("Min-Expires", least)] if least else [])
    edge.run()
    assert edge.agent.names() == []
    assert edge.one.status == 423


@pytest.mark.parametrize("status", [503, 408, None])
def test_the_next_address_is_tried(status):
    base = TRUNK.replace('{address = "127.0.0.3:5060"}',
                         '{address = "127.0.0.3:5060"}, {address = "127.0.0.5:5060", priority = 1}')
    edge = Registering(base=base)
    request = edge.asked()
    if status:
        edge.agent.answer(request, status)
    edge.run(0 if status else 33_000)
    other = edge.second.received()[0]
    assert other.name == "REGISTER"
    assert edge.one.address == "127.0.0.5:5060"
    edge.second.answer(other, 200, headers=[("Contact", f"{CONTACT};expires=600")])
    edge.run()
    assert edge.one.state == "registered"


def test_what_was_granted_stays_until_it_is_over():
    edge = Registering()
    edge.registered(100)
    edge.seconds(77)
    edge.agent.answer(edge.register(), 500)
    edge.run()
    assert edge.one.state == "registered"
    edge.seconds(24)
    assert edge.one.state in ("failed", "trying")
    assert edge.calls.counters["registrations_expired"] == 1


def test_it_is_taken_back_at_the_end_with_credentials():
    edge = Registering()
    edge.registered()
    edge.calls.finish()
    edge.run()
    last = edge.agent.take("REGISTER")
    assert (last.header("Expires"), last.headers("Contact")) == ("0", [CONTACT])
    assert edge.proxy.busy == 1
    edge.agent.answer(last, 401, headers=challenge(status=401))
    edge.run()
    again = edge.agent.take("REGISTER")
    assert again.header("Authorization") is not None
    assert again.header("Expires") == "0"
    edge.agent.answer(again, 200)
    edge.run()
    assert edge.proxy.busy == 0
    assert edge.lines[-1][1] == "registration taken back"
    edge.over()


def test_each_change_is_an_event():
    edge = Registering()
    edge.registered(100)
    edge.seconds(77)
    edge.agent.answer(edge.register(), 403, reason="Not Any More")
    edge.run()
    edge.seconds(30)
    edge.grant(edge.register())
    edge.calls.finish()
    edge.run()
    edge.agent.answer(edge.agent.take("REGISTER"), 200)
    edge.run()
    said = [one for one in edge.services.said if one.name.startswith("registration.")]
    assert [one.name.partition(".")[2] for one in said] == ["registered", "failed", "expired", "registered", "removed"]
    assert [(one.detail["state"], one.detail["status"]) for one in said] == [
        ("registered", 200), ("registered", 403), ("failed", 403), ("registered", 200), ("removed", 200)]
    assert {(one.detail["aor"], one.detail["upstream"]) for one in said} == {("sip:edge@trunk.example", "agent")}
    assert said[1].detail["reason"] == "Not Any More"
    assert said[0].detail["expires"] == said[0].at + 100_000


def test_what_never_was_registered_needs_no_taking_back():
    edge = Registering()
    edge.calls.finish()
    edge.run()
    assert edge.agent.names() == []


def test_another_configuration_begins_what_is_new_and_takes_back_what_is_gone():
    edge = Registering()
    edge.registered()
    more = REGISTRATION.replace("edge@", "second@")
    edge.calls.configure(Policy(config_of(REGISTRATION + more + ROUTE, TRUNK)))
    edge.tick()
    assert edge.agent.take("REGISTER").header("To") == "<sip:second@trunk.example>"
    edge.calls.configure(Policy(config_of(more + ROUTE, TRUNK)))
    edge.run()
    gone = edge.agent.take("REGISTER")
    assert (gone.header("To"), gone.header("Expires")) == ("<sip:edge@trunk.example>", "0")


def test_only_the_first_worker_registers():
    edge = Registering()
    edge.calls.worker = 1
    edge.calls.registrations.all = []
    edge.calls.configure(edge.policy)
    edge.tick()
    assert edge.agent.names() == []


def test_many_begin_in_turn():
    many = "".join(REGISTRATION.replace("edge@", f"edge{number}@") for number in range(50))
    edge = Registering(many)
    counts = []
    for _ in range(4):
        edge.tick()
        counts.append(len(edge.sent()))
        edge.run(100)
        edge.sent()
    assert counts == [20, 20, 11, 0]


def test_calls_of_the_trunk_come_to_the_contact():
    edge = Registering(base=TRUNK.replace('addresses = ["127.0.0.3"]', 'addresses = ["127.0.0.3"]'))
    edge.registered()
    edge.agent.request("INVITE", "sip:edge@127.0.0.1:5060", call_id="in", body=sdp(AGENT),
                       headers=[("Content-Type", "application/sdp")])
    edge.run()
    assert edge.target.take("INVITE").message.method == "INVITE"


@pytest.mark.parametrize(("contacts", "expires", "seconds"), [
    ([f"{CONTACT};expires=300"], None, 300),
    ([CONTACT], "200", 200),
    ([CONTACT], None, 600),
    ([], None, 600),
    ([], "90", 90),
    (["<sip:other@192.0.2.1>;expires=5", f"{CONTACT};expires=300;q=0.5"], "10", 300),
    ([f"<sip:other@192.0.2.1>;expires=5, {CONTACT};expires=300"], None, 300),
    (['"a" <sip:edge@127.0.0.1;ob>;expires="x"'], None, 600),
    (["<sip:broken", f"{CONTACT};expires=300"], None, 300),
    ([f"{CONTACT};expires=0"], None, 0),
    ([f"{CONTACT};expires={'9' * 30}"], None, 600),
    ([f"{CONTACT};expires=4294967295"], None, 86400),
])
def test_what_is_granted(contacts, expires, seconds):
    headers = [("Via", "SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx"), ("From", "<sip:a@b>;tag=1"), ("To", "<sip:a@b>;tag=2"),
               ("Call-ID", "c"), ("CSeq", "1 REGISTER"), *(("Contact", value) for value in contacts)]
    message = Message(build("SIP/2.0 200 OK", headers + ([("Expires", expires)] if expires else [])))
    assert granted(message, "sip:edge@127.0.0.1:5060", 600) == seconds


