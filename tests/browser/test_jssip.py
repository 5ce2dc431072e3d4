"""Browsers with JsSIP that register and call each other through the edge, by ws and wss (RFC 7118)."""
import re
from collections.abc import Callable, Iterator

import pytest

from tests.browser.chromium import Chromium, Page
from tests.browser.conftest import PACKAGES
from tests.browser.pbx import Pbx
from tests.browser.web import Web
from tests.certificates import Authority
from tests.edge import EdgeProcess, StartEdge, wait_until

DOMAIN = "pbx.example.com"
PORTS = {"ws": 8080, "wss": 8443}
SETTINGS = {"password": "secret", "connection_recovery_min_interval": 1, "connection_recovery_max_interval": 2}
"""Of each phone: however long an edge takes to start, it is looked for again soon."""
CONFIGURATION = """
[[listener]]
name = "inside"
bind = "udp:{net}.1:5060"
[[listener]]
name = "ws"
bind = "ws:{net}.1:8080"
origins = ["{origin}"]
[[listener]]
name = "wss"
bind = "wss:{net}.1:8443"
origins = ["{origin}"]
tls = ["edge"]
[[tls]]
name = "edge"
certificate = "{folder}/edge.pem"
key = "{folder}/edge.key"

[[realm]]
name = "web"
realm = "{domain}"
users_env = "BROWSER_USERS"
algorithms = ["MD5"]

[[group]]
name = "browsers"
addresses = ["0.0.0.0/0"]
listeners = ["ws", "wss"]
methods = ["REGISTER", "INVITE", "MESSAGE"]
auth = "web"
[[group]]
name = "pbx"
addresses = ["{net}.2"]
methods = ["INVITE", "MESSAGE"]

[[media]]
name = "audio"
bind = "{net}.1"
ports = "20000-20019"

[[upstream]]
name = "pbx"
targets = [{{ address = "{net}.2:{port}" }}]
mtu = 65000
[[route]]
to = "pbx"
groups = ["browsers"]
methods = ["REGISTER", "INVITE", "MESSAGE"]
nat = true
{lines}
[[route]]
to = "request-uri"
groups = ["pbx"]
methods = ["INVITE", "MESSAGE"]

# Nothing is lost here, and a PBX that is slow to answer gets nothing twice.
[timers]
t1 = 4
"""


class Stage:
    """The edge, the PBX behind it, and browsers before it."""

    def __init__(self, start: Callable[[], EdgeProcess], pbx: Pbx, browser: Chromium, web: Web, address: str):
        self._start = start
        self.edge = start()
        self.pbx = pbx
        self.address = address
        self._browser = browser
        self._web = web
        self.pages: list[Page] = []

    def start_again(self) -> None:
        """An edge in the place of the one that was."""
        self.edge.stop()
        self.edge = self._start()

    def phone(self, user: str, at: str = "", **more: object) -> Page:
        """A phone that connects. at: origin of its page; more: of JsSIP's configuration."""
        self.pages.append(self._browser.open(f"{at or self._web.origin}/phone.html"))
        self.pages[-1].call("start", self.address, f"sip:{user}@{DOMAIN}", SETTINGS | more)
        return self.pages[-1]

    def registered(self, user: str) -> Page:
        page = self.phone(user)
        page.call("until", "registered")
        return page

    def leave(self, page: Page) -> None:
        """Its user closes the page."""
        self.pages.remove(page)
        page.close()

    def lose(self, page: Page) -> None:
        """The same where all pages are connected, until its connection has ended; gauges may be a second old."""
        self.edge.wait_stats(lambda stats: stats["connections"] == len(self.pages), "all connections are counted")
        self.leave(page)
        self.edge.wait_stats(lambda stats: stats["connections"] == len(self.pages), "the connection has ended")

    def ringing(self) -> tuple[Page, Page]:
        """A call of one browser to another, up to its ringing."""
        alice, bob = self.registered("alice"), self.registered("bob")
        alice.call("dial", f"sip:bob@{DOMAIN}")
        bob.call("until", "session remote")
        return alice, bob

    def up(self) -> tuple[Page, Page]:
        """The same, answered, and heard on both sides."""
        alice, bob = self.ringing()
        bob.call("answer")
        for page in (alice, bob):
            page.call("until", "confirmed")
        return alice, bob


@pytest.fixture
def scheme() -> str:
    """How browsers come."""
    return "wss"


@pytest.fixture
def stage(scheme: str, network: str, browser: Chromium, web: Web, authority: Authority,
          start_edge: StartEdge, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Parameter: lines of the route from browsers."""
    monkeypatch.setenv("BROWSER_USERS", "alice:{PLAIN}secret\nbob:{PLAIN}secret")
    with Pbx(f"{network}.2", DOMAIN) as pbx:
        text = CONFIGURATION.format(net=network, domain=DOMAIN, origin=web.origin, port=pbx.address[1],
                                    folder=authority.folder, lines=getattr(request, "param", ""))
        stage = Stage(lambda: start_edge(text), pbx, browser, web, f"{scheme}://{network}.1:{PORTS[scheme]}")
        try:
            yield stage
        finally:
            for page in stage.pages:
                page.close()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_browser_registers_through_the_edge(stage, scheme):
    page = stage.registered("alice")
    register = stage.pbx.requests("REGISTER")[-1]
    # The browser names no address; the Path leads to its connection.
    assert re.fullmatch(rf"SIP/2\.0/{scheme.upper()} \w+\.invalid;branch=\w+;received=127\.0\.0\.1",
                        register.headers("Via")[1])
    contact, path = stage.pbx.bindings["alice"]
    assert re.fullmatch(r"sip:\w+@\w+\.invalid;transport=ws", contact)
    assert re.fullmatch(r"<sip:[0-9.]+:5060;lr;f=[0-9a-v]{39}>", path[0])
    # Its first request is answered with a challenge.
    stats = stage.edge.wait_stats(lambda stats: stats["stream_messages_out"] == 2, "both answers are counted")
    assert (stats["connections"], stats["connections_accepted"], stats["stream_messages_in"]) == (1, 1, 2)
    assert (stats["auth_challenged"], stats["auth_passed"]) == (1, 1)
    page.run("agent.stop()")
    page.call("until", "unregistered")
    page.call("until", "disconnected")
    assert stage.pbx.bindings == {}
    stats = stage.edge.wait_stats(lambda stats: stats["connections"] == 0, "the connection has ended")
    assert (stats["framing_faults"], stats["handshakes_failed"]) == (0, 0)


def test_a_browser_with_a_wrong_password_does_not_register(stage):
    page = stage.phone("alice", password="guess")
    page.call("until", "registration failed")
    assert stage.pbx.messages == []


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("hangs_up", ["caller", "callee"])
def test_two_browsers_call_each_other_and_hear_each_other(stage, hangs_up):
    alice, bob = stage.up()

    def between_them() -> bool:
        """The audio goes from one to the other, with keys that they have agreed on by themselves; they may be about
        to choose another pair of addresses."""
        one, other = alice.call("heard"), bob.call("heard")
        assert (one["dtls"], other["dtls"]) == ("connected", "connected")
        return (one["local"], one["remote"]) == (other["remote"], other["local"])

    wait_until(between_them, "both speak of the same addresses")
    # Both descriptions arrived as they were written: candidates, fingerprints and all.
    for writer, reader, kind in ((alice, bob, "offer"), (bob, alice, "answer")):
        written = [sdp for who, what, sdp in writer.run("descriptions") if (who, what) == ("local", kind)]
        read = [sdp for who, what, sdp in reader.run("descriptions") if (who, what) == ("remote", kind)]
        assert written == read
        assert len(written) == 1
        for line in ("a=candidate:", "a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:sha-256 ", "a=setup:"):
            assert f"\r\n{line}" in written[0]
    one, other = (alice, bob) if hangs_up == "caller" else (bob, alice)
    one.run("session.terminate()")
    assert other.call("until", "ended") == "ended remote"
    # The call went through the edge twice: to the PBX, and from there to its callee.
    stats = stage.edge.wait_stats(lambda stats: stats["calls_ended"] == 2, "the call has ended")
    assert (stats["calls_answered"], stats["media_calls"], stats["ice_removed"], stats["rtp_in"]) == (2, 0, 0, 0)
    assert stage.edge.wait_call_line(event="call", to="bob")["ended"] == hangs_up


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_requests_inside_a_call_reach_both_browsers(stage):
    alice, bob = stage.up()
    for one, other in ((alice, bob), (bob, alice)):
        one.call("hold", True)
        other.call("until", "hold remote")
        one.call("hold", False)
        other.call("until", "unhold remote")
    alice.call("heard")
    bob.call("heard")
    alice.run("session.terminate()")
    bob.call("until", "ended")


def test_a_browser_takes_a_call_back(stage):
    alice, bob = stage.ringing()
    alice.call("until", "progress")
    alice.run("session.terminate()")
    assert bob.call("until", "failed") == "failed Canceled"
    assert stage.edge.wait_call_line(event="call", to="bob")["status"] == 487


def test_a_browser_refuses_a_call(stage):
    alice, bob = stage.ringing()
    bob.run("session.terminate({ status_code: 486 })")
    assert alice.call("until", "failed") == "failed 486"


def test_the_pbx_reaches_a_browser_over_the_connection_on_which_it_registered(stage):
    page = stage.registered("alice")
    answer = stage.pbx.ask("alice", "MESSAGE", "Grüße".encode())
    assert answer.status == 200
    assert page.call("until", "message remote") == "message remote Grüße"
    stats = stage.edge.wait_stats(lambda stats: stats["connections_accepted"], "the connection is counted")
    assert (stats["connections_accepted"], stats["connections_opened"]) == (1, 0)


def test_a_browser_that_has_gone_is_not_reached_and_the_pbx_is_told_why(stage):
    alice, bob = stage.registered("alice"), stage.registered("bob")
    stage.lose(bob)
    # Nothing came to the registrar: it has the binding still.
    assert set(stage.pbx.bindings) == {"alice", "bob"}
    alice.call("dial", f"sip:bob@{DOMAIN}")
    assert alice.call("until", "failed") == "failed 430"
    # It comes back, over another connection.
    bob = stage.registered("bob")
    alice.call("dial", f"sip:bob@{DOMAIN}")
    bob.call("until", "session remote")
    bob.run("session.terminate({ status_code: 480 })")
    assert alice.call("until", "failed", 2) == "failed 480"


def test_a_call_of_a_browser_that_goes_away_can_be_ended_by_the_other(stage):
    alice, bob = stage.up()
    stage.lose(bob)
    alice.run("session.terminate()")
    alice.call("until", "ended")
    stage.edge.wait_stats(lambda stats: stats["calls_ended"] == 2 and not stats["calls_up"], "the call has ended")


def test_browsers_come_back_after_the_edge_was_started_again(stage):
    alice, bob = stage.registered("alice"), stage.registered("bob")
    stage.start_again()
    for page in (alice, bob):
        page.call("until", "disconnected")
        page.call("until", "registered", 2)
    alice.call("dial", f"sip:bob@{DOMAIN}")
    bob.call("until", "session remote")
    bob.run("session.terminate({ status_code: 486 })")
    assert alice.call("until", "failed") == "failed 486"


@pytest.mark.parametrize("hangs_up", ["caller", "callee"])
@pytest.mark.parametrize("stage", ["control = true"], indirect=True)
def test_a_controlled_call_that_comes_back_from_the_pbx_ends_as_one(stage, hangs_up):
    """A dialog of the edge's own to the PBX, and behind it one that the edge forwards to the callee."""
    alice, bob = stage.up()
    alice.call("heard")
    one, other = (alice, bob) if hangs_up == "caller" else (bob, alice)
    one.run("session.terminate()")
    assert other.call("until", "ended") == "ended remote"
    stage.edge.wait_stats(lambda stats: stats["calls_ended"] == 2 and not stats["calls_up"], "the call has ended")
    assert len(stage.pbx.requests("ACK")) == len(stage.pbx.requests("BYE")) == 1
    wait_until(lambda: len(stage.edge.call_lines) == 2, "both dialogs are logged")
    assert {line["ended"] for line in stage.edge.call_lines} == {hangs_up}


@pytest.mark.parametrize("stage", ['media = "anchor"'], indirect=True)
def test_an_anchored_route_refuses_a_browsers_offer_and_says_why(stage):
    alice = stage.phone("alice", register=False)
    alice.call("until", "connected")
    alice.call("dial", f"sip:bob@{DOMAIN}")
    assert alice.call("until", "failed") == 'failed 488 302 sipedge "media over DTLS cannot be anchored"'
    assert stage.pbx.requests("INVITE") == []
    stage.edge.wait_stats(lambda stats: stats["media_refused"] == 1 and not stats["media_ports_used"],
                          "it was refused, and holds no port")
    told = "session description refused with 488: Not Acceptable Here - media over DTLS cannot be anchored; Call-ID "
    wait_until(lambda: any(line.get("text", "").startswith(told) for line in stage.edge.log_lines), "the log says so")


def test_a_page_from_elsewhere_is_refused(stage):
    with Web(PACKAGES) as elsewhere:
        page = stage.phone("eve", at=elsewhere.origin)
        page.call("until", "disconnected")
        stage.edge.wait_stats(lambda stats: stats["handshakes_failed"] >= 1, "it was refused, and may try again")
        assert "connected" not in page.run("seen")
        stage.leave(page)
    assert stage.pbx.messages == []
