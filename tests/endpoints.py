"""Scripted phones for tests: they build messages byte by byte and say what they received; nothing is automatic."""
from collections.abc import Iterable
from dataclasses import dataclass, field

from sipcore.base.trie import Trie
from sipcore.net.loopback import Link, Packet
from sipcore.stack.admission import Admission
from sipcore.stack.proxy import Proxy
from sipcore.stack.verdict import Verdict
from sipcore.wire.message import Message
from sipcore.wire.nameaddr import NameAddress

EDGE = ("127.0.0.1", 5060)
METHODS = ("INVITE", "OPTIONS", "REGISTER", "REFER", "SUBSCRIBE", "MESSAGE", "PUBLISH")
SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"

Headers = Iterable[tuple[str, str]]


def host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def build(start: str, headers: Headers, body: bytes = b"", length: bool = True) -> bytes:
    """A message of these parts, with its Content-Length."""
    lines = [start, *(f"{name}: {value}" for name, value in headers)]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape") + body


@dataclass
class Received:
    """A message that arrived: its packet and its index."""

    packet: Packet
    message: Message = field(init=False)

    def __post_init__(self) -> None:
        self.message = Message(self.packet.data)

    @property
    def name(self) -> str:
        return self.message.method if self.message.is_request else str(self.message.status)

    @property
    def at(self) -> int:
        return self.packet.at

    @property
    def data(self) -> bytes:
        return self.packet.data

    def header(self, name: str) -> str | None:
        return self.message.header(name)

    def headers(self, name: str) -> list[str]:
        return self.message.headers(name)


@dataclass
class Dialog:
    """One side of a dialog, as RFC 3261 12 has it: what is needed to send a request inside."""

    phone: "Phone"
    call_id: str
    local: str
    remote: str
    target: str
    routes: list[str]
    cseq: int

    def request(
        self, method: str, *, headers: Headers = (), body: bytes = b"", cseq: int = 0, branch: str = ""
    ) -> bytes:
        """Build a request of this dialog; it is not sent."""
        if not cseq:
            self.cseq += method not in ("ACK", "CANCEL")
        return self.phone.build(method, self.target, from_=self.local, to=self.remote, call_id=self.call_id,
                                cseq=cseq or self.cseq, routes=self.routes, headers=headers, body=body, branch=branch)

    def send(self, method: str, **parts: object) -> bytes:
        """Build a request and send it to the first Route, or to the target."""
        data = self.request(method, **parts)  # type: ignore[arg-type]
        self.phone.send(data, self.hop())
        return data

    def hop(self) -> tuple[str, int]:
        uri = NameAddress((self.routes[0] if self.routes else f"<{self.target}>").encode()).uri
        assert uri is not None
        return uri.host, uri.port or 5060


class Phone:
    """A port with a SIP name. What arrived waits in `inbox` until `take` or `quiet` asks for it."""

    def __init__(self, link: Link, name: str, host: str, port: int = 5060, edge: tuple[str, int] = EDGE) -> None:
        self.port = link.open(host, port)
        self.link = link
        self.name = name
        self.host = host
        self.number = port
        self.edge = edge
        self.uri = f"sip:{name}@{host_port(host, port)}"
        self.contact = f"<{self.uri}>"
        self._branches = 0

    def build(self, method: str, uri: str, *, from_: str = "", to: str = "", call_id: str = "c1", cseq: int = 1,
              branch: str = "", routes: Iterable[str] = (), headers: Headers = (), body: bytes = b"",
              max_forwards: int | None = 70, via_params: str = ";rport") -> bytes:
        self._branches += 1
        branch = branch or f"z9hG4bK-{self.name}-{self._branches}"
        lines = [("Via", f"SIP/2.0/UDP {host_port(self.host, self.number)};branch={branch}{via_params}")]
        if max_forwards is not None:
            lines.append(("Max-Forwards", str(max_forwards)))
        lines += [("Route", route) for route in routes]
        lines += [("From", from_ or f"<{self.uri}>;tag={self.name}-tag"), ("To", to or f"<{uri}>"),
                  ("Call-ID", call_id), ("CSeq", f"{cseq} {method}")]
        if method not in ("ACK", "CANCEL", "BYE"):
            lines.append(("Contact", self.contact))
        return build(f"{method} {uri} SIP/2.0", [*lines, *headers], body)

    def send(self, data: bytes, to: tuple[str, int] | None = None) -> bytes:
        self.port.send(data, to or self.edge)
        return data

    def request(self, method: str, uri: str, **parts: object) -> bytes:
        """Build a request and send it to the edge."""
        return self.send(self.build(method, uri, **parts))  # type: ignore[arg-type]

    def cancel(self, invite: bytes, *headers: tuple[str, str]) -> bytes:
        """CANCEL an INVITE of this phone (RFC 3261 9.1)."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers).encode()
        return self.send(sibling(invite, "CANCEL").replace(b"Content-Length", lines + b"Content-Length"))

    def ack(self, invite: bytes, response: Received) -> bytes:
        """The ACK to a final response that is no 2xx (RFC 3261 17.1.1.3)."""
        return self.send(sibling(invite, "ACK", response.header("To")))

    def answer(self, request: Received, status: int, *, tag: str = "", reason: str = "Reason", headers: Headers = (),
               body: bytes = b"", to: tuple[str, int] | None = None) -> bytes:
        """Respond to a request, to where it came from."""
        message = request.message
        lines = [("Via", value) for value in message.headers("Via")]
        lines += [("Record-Route", value) for value in message.headers("Record-Route")] if status < 300 else []
        peer = message.header("To") or ""
        if not message.to_tag and status > 100:
            peer += f";tag={tag or self.name + '-tag'}"
        number, method = message.cseq
        lines += [("From", message.header("From") or ""), ("To", peer), ("Call-ID", message.call_id),
                  ("CSeq", f"{number} {method}")]
        if 100 < status < 300 and method in ("INVITE", "SUBSCRIBE", "REFER"):
            lines.append(("Contact", self.contact))
        return self.send(build(f"SIP/2.0 {status} {reason}", [*lines, *headers], body), to or request.packet.source)

    def caller_dialog(self, response: Received) -> Dialog:
        """The dialog that a 1xx or 2xx to our INVITE made."""
        message = response.message
        return Dialog(self, message.call_id, message.header("From") or "", message.header("To") or "",
                      _contact(message), message.headers("Record-Route")[::-1], message.cseq[0])

    def callee_dialog(self, invite: Received, tag: str = "") -> Dialog:
        """The dialog that our 1xx or 2xx to an INVITE made."""
        message = invite.message
        return Dialog(self, message.call_id, f"{message.header('To')};tag={tag or self.name + '-tag'}",
                      message.header("From") or "", _contact(message), message.headers("Record-Route"), 100)

    def received(self) -> list[Received]:
        """All that arrived since it was last asked for."""
        packets, self.port.inbox = self.port.inbox, []
        return [Received(packet) for packet in packets]

    def names(self) -> list[str]:
        """Methods and status codes of what arrived since it was last asked for."""
        return [one.name for one in self.received()]

    def take(self, *names: str) -> Received:
        """The last of exactly these messages: nothing else may have arrived."""
        found = self.received()
        assert [one.name for one in found] == list(names)
        return found[-1]


def _contact(message: Message) -> str:
    contact = message.headers("Contact")
    return str(NameAddress(contact[0].encode()).uri) if contact else ""


def sibling(invite: bytes, method: str, to: str | None = None) -> bytes:
    """The CANCEL or ACK of an INVITE: same branch, request URI and CSeq number."""
    message = Message(invite)
    lines = [("Via", message.headers("Via")[0]), ("Max-Forwards", "70")]
    lines += [("Route", value) for value in message.headers("Route")]
    lines += [("From", message.header("From") or ""), ("To", to or message.header("To") or ""),
              ("Call-ID", message.call_id), ("CSeq", f"{message.cseq[0]} {method}")]
    return build(f"{method} {message.uri} SIP/2.0", lines)


class Bench:
    """A proxy on a link, with the phones that a test asks for: 127.0.0.0/8 and ::1 are listed, the rest is not."""

    def __init__(self, verdict: Verdict | None = None, *, decide=None, link: Link | None = None,
                 listeners: Iterable[tuple[str, int]] = (EDGE,), methods: Iterable[str] = METHODS,
                 admission: Admission | None = None, group: dict | None = None,
                 public: tuple[str, int] | None = None, **options) -> None:
        listeners = list(listeners)
        self.link = link or Link()
        if admission is None:
            admission = Admission([Trie([("127.0.0.0/8", 0), ("::1/128", 0), ("fd00::/16", 0)])] * len(listeners))
            admission.add_group("allow", methods, **(group or {}))
        self.asked: list[tuple[str, str]] = []
        fixed = verdict or Verdict()

        def ask(request):
            self.asked.append((request.method, request.uri))
            return decide(request) if decide is not None else fixed

        self.proxy = Proxy(admission=admission, decide=ask, **({"transactions": 256, "dialogs": 64} | options))
        self.link.attach(self.proxy, listeners, public)

    def phone(self, name: str, host: str, port: int = 5060, edge: tuple[str, int] = EDGE) -> Phone:
        return Phone(self.link, name, host, port, edge)

    def run(self, ms: int = 0) -> None:
        self.link.run(ms)

    def count(self, name: str) -> int:
        return self.proxy.statistics()[name]

    def call(
        self, caller: Phone, callee: Phone, *, call_id: str = "c1", headers: Headers = ()
    ) -> tuple[Dialog, Dialog]:
        """An answered call; both dialogs. Everything that both received until then is taken."""
        caller.request("INVITE", callee.uri, call_id=call_id, headers=headers)
        self.run()
        invite = callee.take("INVITE")
        callee.answer(invite, 200)
        self.run()
        answered = caller.take("100", "200")
        one, other = caller.caller_dialog(answered), callee.callee_dialog(invite)
        one.send("ACK")
        self.run()
        callee.take("ACK")
        return one, other

    def empty(self, ms: int = 300_000, dialogs: int = 0) -> None:
        """After this time nothing is left: no transaction, no timer, no buffer, no more records than dialogs."""
        self.run(ms)
        assert self.proxy.live == 0
        assert self.proxy.pool.live == (0, 0, 0)
        assert self.proxy.deadline() is None
        assert self.count("dialogs") == dialogs


__all__ = ["EDGE", "METHODS", "SDP", "Bench", "Dialog", "Phone", "Received", "build", "sibling"]
