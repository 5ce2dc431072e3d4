"""An edge that controls its calls, with a caller, an agent and targets as scripted phones, and a services process that
answers what a test says: all in memory, with time as an argument."""
from typing import Any

import msgspec

from proxy import app
from proxy.admission import admission
from proxy.calls.registry import Calls
from proxy.config import Action, decode
from proxy.events import Answer, Event, Record, StartTransfer
from proxy.policy.engine import Policy
from proxy.policy.references import NOBODY, Keeper
from proxy.policy.validate import problems_of
from sipcore.net.loopback import Conditions, Link
from sipcore.stack import plan
from sipcore.stack.capabilities import EXTENSIONS
from sipcore.stack.identity import Identity
from sipcore.stack.proxy import Proxy
from tests.endpoints import Dialog, Phone, Received

EDGE, CALLER, AGENT, TARGET, SECOND = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"

CONFIG = """\
[[listener]]
name = "lan"
bind = "udp:127.0.0.1:5060"
[[group]]
name = "callers"
addresses = ["127.0.0.2"]
[[group]]
name = "agents"
addresses = ["127.0.0.3"]
[[group]]
name = "inside"
addresses = ["127.0.0.4/31"]
trusted = true
[[upstream]]
name = "agent"
targets = [{address = "127.0.0.3:5060"}]
[[upstream]]
name = "pbx"
targets = [{address = "127.0.0.4:5060"}]
"""
ROUTE = '[[route]]\nto = "agent"\ncontrol = true\n'
RUN_BLIND = '[[refer]]\ngroups = ["agents"]\naction = "run"\ntransfer = "blind"\n'
BLIND = '[[transfer]]\nname = "blind"\nmode = "blind"\n'
FORWARD = '[[refer]]\ngroups = ["agents"]\naction = "forward"\n'


def sdp(host: str, port: int = 4000, payloads: str = "0 8 101", version: int = 1, direction: str = "") -> bytes:
    lines = ["v=0", f"o=- 1 {version} IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0",
             f"m=audio {port} RTP/AVP {payloads}", "a=rtpmap:101 telephone-event/8000"]
    return ("\r\n".join([*lines, *([f"a={direction}"] if direction else [])]) + "\r\n").encode()


def config_of(text: str, base: str = CONFIG) -> Any:
    return decode(base + text, problems_of, file="edge.toml")


class Services:
    """What the services process does, by hand: questions wait in `asked` until the test answers them."""

    def __init__(self) -> None:
        self.used = True
        self.asked: list[tuple[Any, Any]] = []
        self.said: list[Any] = []

    def ask(self, question, answered):
        self.asked.append((question, answered))

    def emit(self, said):
        # As on the wire: what cannot be encoded fails here.
        self.said.append(msgspec.msgpack.decode(msgspec.msgpack.encode(said), type=type(said)))

    def wants(self, name):
        return True

    def answer(self, kind=None, sound=b"", **fields):
        """Answer the oldest question, or the oldest of a kind."""
        index = next(i for i, (question, _) in enumerate(self.asked) if kind is None or isinstance(question, kind))
        question, answered = self.asked.pop(index)
        answered(Answer(ask=question.ask, **fields), sound)
        return question

    def events(self):
        return [said.name for said in self.said if isinstance(said, Event)]

    def records(self):
        return [said for said in self.said if isinstance(said, Record)]

    def transfer(self):
        """The record of the last transfer."""
        return [said.transfer for said in self.records() if said.transfer is not None][-1]

    def call(self):
        return [said.call for said in self.records() if said.call is not None][-1]


class Scene:
    """The edge and its phones. text: what stands in the configuration behind the listeners, groups and upstreams."""

    def __init__(self, text: str = ROUTE, *, base: str = CONFIG, seed: int = 0, conditions: Conditions | None = None,
                 media: Any = None, audio: Any = None, unreachable: bool = False, keeper: Keeper = NOBODY):
        self.config = config_of(text, base)
        plan.use_listeners(app.listeners(self.config))
        self.policy = Policy(self.config, askers=app.askers(self.config), accounts=app.accounts(self.config),
                             keeper=keeper)
        self.link = Link(seed, conditions or Conditions(), unreachable=unreachable)
        limits = self.config.limits
        self.proxy = Proxy(Identity(b"the secret of a test"), admission=admission(self.config),
                           decide=self.policy.decide, oversize=self.policy.oversize, transactions=1024, dialogs=64,
                           extensions=EXTENSIONS, media=audio)
        self.proxy.configure(admission(self.config), self.policy.decide, self.policy.oversize,
                             internal=self.config.internal.headers, max_calls=limits.calls,
                             groups=[group.name for group in self.config.groups],
                             upstreams=[one.name for one in self.config.upstreams],
                             realms=[one.realm for one in self.config.realms])
        self.services = Services()
        self.calls = Calls(self.proxy, self.policy, services=self.services, media=media)
        self.proxy.handler = self.calls
        self.link.attach(self.proxy, [(host, port, transport)
                                      for host, port, _, _, transport in app.listeners(self.config)])
        self.caller = Phone(self.link, "+4930123", CALLER)
        self.agent = Phone(self.link, "bot", AGENT)
        self.target = Phone(self.link, "2001", TARGET)
        self.second = Phone(self.link, "2002", SECOND)
        self.numbers = 0

    def run(self, ms: int = 0) -> None:
        self.link.run(ms)
        self.proxy.advance(self.link.now)
        self.link.run()
        assert self.proxy.take_troubles() == []

    @property
    def call(self) -> Any:
        (call,) = self.calls.all
        return call

    @property
    def transfer(self) -> Any:
        return self.call.transfer

    def invite(self, **parts: Any) -> Received:
        """The caller calls; the INVITE as the agent gets it."""
        self.numbers += 1
        parts.setdefault("body", sdp(CALLER))
        self.invited = self.caller.request("INVITE", "sip:bot@127.0.0.1", **{
            "call_id": f"call-{self.numbers}", **_typed(parts)})
        self.run()
        return self.agent.take("INVITE")

    def up(self, answer: bytes | None = None, **parts: Any) -> tuple[Dialog, Dialog]:
        """An answered call: the caller's dialog and the agent's."""
        invite = self.invite(**parts)
        self.agent.answer(invite, 200, body=sdp(AGENT) if answer is None else answer, headers=_content(()))
        self.run()
        self.agent.take("ACK")
        answered = self.caller.take("100", "200")
        one, other = self.caller.caller_dialog(answered), self.agent.callee_dialog(invite)
        one.send("ACK")
        self.run()
        return one, other

    def start(self, action: Action, target: str = "", **variables: str) -> Any:
        """By the API; the Reply."""
        self.proxy.advance(self.link.now)
        reply = self.calls.obey(StartTransfer(
            ask=1, call=self.call.id, action=msgspec.msgpack.encode(action), target=target, variables=variables))
        self.run()
        return reply

    def over(self, ms: int = 400_000) -> None:
        """After this time nothing is left of any call."""
        self.run(ms)
        assert self.calls.all == {}
        assert self.calls.named == {}
        assert self.proxy.live == 0
        assert self.proxy.dialogs == {}
        assert self.proxy.pool.live == (0, 0, 0)
        assert self.proxy.deadline() is None
        assert self.proxy.statistics()["calls_up"] == 0
        assert self.proxy.statistics()["dialogs"] == 0


def _content(headers: Any) -> list[tuple[str, str]]:
    return [*headers, ("Content-Type", "application/sdp")]


def _typed(parts: dict[str, Any]) -> dict[str, Any]:
    if parts.get("body"):
        parts["headers"] = _content(parts.get("headers", ()))
    return parts


def sipfrag(status: int, reason: str = "Reason") -> bytes:
    return f"SIP/2.0 {status} {reason}\r\n".encode()


def notify(dialog: Dialog, status: int, reason: str = "Reason", number: str = "", state: str = "") -> bytes:
    """Send a NOTIFY of a REFER that came in this dialog."""
    ended = "terminated;reason=noresource" if status >= 200 else "active;expires=60"
    return dialog.send("NOTIFY", headers=[
        ("Event", f"refer{number}"), ("Subscription-State", state or ended),
        ("Content-Type", "message/sipfrag;version=2.0")], body=sipfrag(status, reason))
