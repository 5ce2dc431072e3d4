"""Two user agents with legs on them and a link between, for tests: owners that write down what they hear."""
from typing import Any

from sipcore.net.loopback import Conditions, Link
from sipcore.stack.capabilities import EXTENSIONS
from sipcore.stack.handler import Handler
from sipcore.stack.identity import Identity
from sipcore.stack.leg import Leg
from sipcore.stack.legowner import PLAIN
from sipcore.stack.useragent import UserAgent
from sipcore.wire.message import Message

ANN, BOB, EVE = ("192.0.2.1", 5060), ("192.0.2.2", 5060), ("192.0.2.3", 5060)


def sdp(host="192.0.2.1", version=1):
    return (f"v=0\r\no=- 1 {version} IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            "m=audio 4000 RTP/AVP 0\r\n").encode()


class Owner:
    """Writes down what its legs tell; does what a test puts into `do`, by name of the event."""

    def __init__(self):
        self.heard: list[Any] = []
        self.do: dict[str, Any] = {}

    def _note(self, name, leg, *more):
        self.heard.append((name, *more))
        action = self.do.get(name)
        return action(leg, *more) if action is not None else None

    def __getattr__(self, name):
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda leg, *more: self._note(name[3:], leg, *more)

    @property
    def names(self):
        return [event[0] for event in self.heard]

    def last(self, name):
        return next(event for event in reversed(self.heard) if event[0] == name)

    def count(self, name):
        return self.names.count(name)


class Place(Handler):
    """A user agent with legs. legs: of the INVITEs that came; refuse: answers them instead of a leg."""

    def __init__(self, link, address, settings=PLAIN, transactions=256):
        self.agent = UserAgent(Identity(b"the secret of " + repr(address).encode()), handler=self,
                               extensions=EXTENSIONS, transactions=transactions)
        link.attach(self.agent, [address])
        self.link = link
        self.address = address
        self.settings = settings
        self.owner = Owner()
        self.legs: list[Any] = []
        self.take: Any = None

    def on_request(self, tx):
        if tx.request.method != "INVITE":
            super().on_request(tx)
            return
        leg = Leg.incoming(self.agent, tx, self.owner, self.settings)
        if leg is not None:
            self.legs.append(leg)
            if self.take is not None:
                self.take(leg)

    @property
    def leg(self) -> Any:
        return self.legs[-1]

    def call(self, to, body=None, **more) -> Any:
        """Invite from here."""
        self.agent.advance(self.link.now)
        leg = Leg.outgoing(self.agent, self.owner, self.settings)
        fields: dict[str, Any] = {"local": f"<sip:ann@{self.address[0]}>", "remote": f"<sip:bob@{to[0]}>",
                                  "body": sdp() if body is None else body}
        leg.invite(f"sip:bob@{to[0]}", to, **(fields | more))
        self.legs.append(leg)
        return leg


class Scene:
    """ann and bob on a link."""

    def __init__(self, seed=0, conditions=None, *, ann=PLAIN, bob=PLAIN, unreachable=False,
                 transactions=256):
        self.link = Link(seed, conditions or Conditions(), unreachable=unreachable)
        self.ann = Place(self.link, ANN, ann, transactions)
        self.bob = Place(self.link, BOB, bob)
        self.places = [self.ann, self.bob]

    def run(self, ms=0):
        self.link.run(ms)
        for place in self.places:
            place.agent.advance(self.link.now)
        self.link.run(0)
        for place in self.places:
            assert place.agent.take_troubles() == []

    def up(self, body=None, answer=None, **more) -> tuple[Any, Any]:
        """A call that is up: (ann's leg, bob's leg)."""
        ours = self.ann.call(BOB, body, **more)
        self.run()
        self.bob.leg.answer(sdp("192.0.2.2") if answer is None else answer)
        self.run()
        assert (ours.state, self.bob.leg.state) == ("up", "up")
        return ours, self.bob.leg

    def sent(self, source, method=""):
        """Messages that left there: requests of a method, or all."""
        found = [Message(packet.data) for packet in self.link.sent if packet.source == source]
        return [message for message in found if not method or (message.is_request and message.method == method)]

    def statuses(self, source, method="INVITE"):
        return [m.status for m in self.sent(source) if not m.is_request and m.method == method]

    def methods(self, source):
        return [m.method for m in self.sent(source) if m.is_request]

    def settle(self, ms=200_000):
        """Everything is over: nothing is left."""
        self.run(ms)
        for place in self.places:
            assert place.agent.live == 0
            assert place.agent.dialogs == {}
            assert place.agent.deadline() is None
            assert place.agent.take_troubles() == []
            assert place.owner.count("ended") == len(place.legs), place.owner.names


class Phone:
    """A scripted far end: sends what a test says, whatever a user agent of ours would think of it."""

    def __init__(self, link, address=EVE):
        self.address = address
        self.port = link.open(*address)
        self.link = link
        self.branches = 0

    @property
    def got(self):
        return [Message(packet.data) for packet in self.port.inbox]

    def last(self, method):
        return next(m for m in reversed(self.got) if m.is_request and m.method == method)

    def methods(self):
        return [m.method for m in self.got if m.is_request]

    def statuses(self, method=""):
        return [m.status for m in self.got if not m.is_request and method in ("", m.method)]

    def respond(self, request, status, tag="phone", headers=(), body=b"", to=ANN, contact=True, reason="Whatever",
                content_type="application/sdp"):
        lines = [f"SIP/2.0 {status} {reason}"]
        for name, value in request.items():
            if name in ("Via", "Record-Route", "From", "Call-ID", "CSeq"):
                lines.append(f"{name}: {value}")
            elif name == "To":
                lines.append(f"To: {value}" if ";tag=" in value or not tag else f"To: {value};tag={tag}")
        if contact and status < 300:
            lines.append(f"Contact: <sip:phone@{self.address[0]}:{self.address[1]}>")
        self._send([*lines, *(f"{name}: {value}" for name, value in headers)], body, to, content_type)

    def request(self, method, uri, *, call_id, cseq, tag="phone", to_tag="", headers=(), body=b"", to=ANN, branch="",
                max_forwards=70, contact=True):
        self.branches += 1
        ends = f"To: <{uri}>;tag={to_tag}" if to_tag else f"To: <{uri}>"
        host, port = self.address
        self._send([f"{method} {uri} SIP/2.0", f"Via: SIP/2.0/UDP {host}:{port};branch=" +
                    (branch or f"z9hG4bKphone{self.branches}"), f"Max-Forwards: {max_forwards}",
                    f"From: <sip:phone@{host}>;tag={tag}", ends, f"Call-ID: {call_id}", f"CSeq: {cseq} {method}",
                    *[f"Contact: <sip:phone@{host}:{port}>"] * contact,
                    *(f"{name}: {value}" for name, value in headers)], body, to)

    def inside(self, invite, method, cseq, *, tag="phone", headers=(), body=b"", to=ANN):
        """A request in the dialog of an INVITE that came here."""
        self.request(method, "sip:" + to[0], call_id=invite.call_id, cseq=cseq, tag=tag, to_tag=invite.from_tag,
                     headers=headers, body=body, to=to)

    def _send(self, lines, body, to, content_type="application/sdp"):
        more = [f"Content-Type: {content_type}"] if body else []
        head = "\r\n".join([*lines, *more, f"Content-Length: {len(body)}", "", ""])
        self.port.send(head.encode() + body, to)


def done(owner: Any) -> list[tuple[Any, ...]]:
    """How the re-offers of a leg ended, one after the other, as its owner was told."""
    return [event[2:] for event in owner.heard if event[0] == "reoffer_done"]
