"""A registrar and proxy behind the edge, as small as one can be: by UDP, stateless (RFC 3261 16.11), with Path (RFC
3327) and Record-Route. Whoever it calls is reached through the edge."""
import hashlib
import socket
import threading
from types import TracebackType

from sipcore.wire.message import Message
from sipcore.wire.nameaddr import NameAddress
from sipcore.wire.uri import URI
from sipcore.wire.via import ViaValue
from tests.edge import wait_until
from tests.endpoints import build

LENGTH = ("Content-Length", "l")
Binding = tuple[str, list[str]]
"""A contact's URI and the Path to it."""


class Pbx:
    """It serves one domain, in a thread of its own. address: what it is bound to."""

    def __init__(self, host: str, domain: str):
        self.domain = domain
        self.bindings: dict[str, Binding] = {}
        """By user."""
        self.messages: list[Message] = []
        """All that came."""
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((host, 0))
        self.address: tuple[str, int] = self._sock.getsockname()
        self._uri = f"sip:{self.address[0]}:{self.address[1]};lr"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def requests(self, method: str) -> list[Message]:
        """What came of a method."""
        return [message for message in self.messages if message.is_request and message.method == method]

    def ask(self, user: str, method: str, body: bytes) -> Message:
        """Send a request of its own to a user, and take the answer."""
        uri, path = self.bindings[user]
        to = f"sip:{user}@{self.domain}"
        headers = [("Via", f"SIP/2.0/UDP {self.address[0]}:{self.address[1]};branch=z9hG4bKown"),
                   *(("Route", value) for value in path), ("Max-Forwards", "70"), ("From", f"<{to}>;tag=pbx"),
                   ("To", f"<{to}>"), ("Call-ID", "own"), ("CSeq", f"1 {method}"), ("Content-Type", "text/plain")]
        hop = _uri(path[0])
        self._sock.sendto(build(f"{method} {uri} SIP/2.0", headers, body), (hop.host, hop.port or 5060))
        wait_until(lambda: self._answers("own"), f"{method} is answered")
        return self._answers("own")[-1]

    def _answers(self, call_id: str) -> list[Message]:
        return [one for one in self.messages if not one.is_request and one.call_id == call_id and one.status >= 200]

    def __enter__(self) -> "Pbx":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        # An empty datagram to itself ends it.
        self._sock.sendto(b"", self.address)
        self._thread.join()
        self._sock.close()

    def _run(self) -> None:
        while True:
            data, source = self._sock.recvfrom(65535)
            if not data:
                return
            message = Message(data)
            self.messages.append(message)
            if not message.is_request:
                self._pass_back(message)
            elif message.method == "REGISTER":
                self._register(message, source)
            else:
                self._pass_on(message, source)

    def _register(self, request: Message, source: tuple[str, int]) -> None:
        contact = NameAddress(request.headers("Contact")[0].encode())
        assert contact.uri is not None
        user = _uri(request.headers("To")[0]).user or ""
        expires = contact.param("expires") or request.header("Expires") or "600"
        headers: list[tuple[str, str]] = []
        if expires == "0":
            self.bindings.pop(user, None)
        else:
            self.bindings[user] = (contact.uri.render(), request.headers("Path"))
            headers = [("Contact", f"<{contact.uri.render()}>;expires={expires}"),
                       *(("Path", value) for value in request.headers("Path"))]
        self._sock.sendto(_answer(request, 200, "OK", headers), source)

    def _pass_on(self, request: Message, source: tuple[str, int]) -> None:
        routes = request.headers("Route")
        if routes and _uri(routes[0]).port == self.address[1]:
            routes = routes[1:]
        uri = request.uri
        if not routes and URI(uri).host in (self.domain, self.address[0]):
            if (URI(uri).user or "") not in self.bindings:
                if request.method != "ACK":
                    self._sock.sendto(_answer(request, 480, "Temporarily Unavailable", []), source)
                return
            uri, routes = self.bindings[URI(uri).user or ""]
        branch = hashlib.sha256(ViaValue(request.headers("Via")[0].encode()).branch.encode()).hexdigest()[:24]
        headers = [("Via", f"SIP/2.0/UDP {self.address[0]}:{self.address[1]};branch=z9hG4bK{branch}")]
        if request.method == "INVITE":
            headers.append(("Record-Route", f"<{self._uri}>"))
        headers += [("Route", value) for value in routes]
        headers += [one for one in request.items() if one[0] not in ("Route", *LENGTH)]
        next_hop = _uri(routes[0]) if routes else URI(uri)
        self._sock.sendto(build(f"{request.method} {uri} SIP/2.0", headers, request.body),
                          (next_hop.host, next_hop.port or 5060))

    def _pass_back(self, response: Message) -> None:
        vias = response.headers("Via")[1:]
        if not vias:
            return
        headers = [("Via", value) for value in vias]
        headers += [one for one in response.items() if one[0] not in ("Via", "v", *LENGTH)]
        to = ViaValue(vias[0].encode())
        self._sock.sendto(build(f"SIP/2.0 {response.status} {response.reason}", headers, response.body),
                          (to.received or to.host, to.rport or to.port or 5060))


def _uri(value: str) -> URI:
    uri = NameAddress(value.encode()).uri
    assert uri is not None
    return uri


def _answer(request: Message, status: int, reason: str, headers: list[tuple[str, str]]) -> bytes:
    lines = [("Via", value) for value in request.headers("Via")]
    number, method = request.cseq
    to = request.headers("To")[0]
    lines += [("From", request.headers("From")[0]), ("To", to if request.to_tag else f"{to};tag=pbx"),
              ("Call-ID", request.call_id), ("CSeq", f"{number} {method}")]
    return build(f"SIP/2.0 {status} {reason}", [*lines, *headers])
