"""Calls with audio ports of their own, set up through a proxy by INVITE, and ended by BYE.

Plain Python over two sockets, as it is set up and not measured here: about 0.4 ms a call.
"""
import os
import re
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

Address = tuple[str, int]

_WINDOW = 32  # calls being set up at a time
_REPEAT = 0.5  # seconds without any message after which open requests are sent again
_PATIENCE = 10.0  # seconds without any message after which it is given up
_HEADER = re.compile(rb"^([A-Za-z-]+): (.*?)\r?$", re.MULTILINE)
_AUDIO = re.compile(rb"^m=audio (\d+) ", re.MULTILINE)
_CONNECTION = re.compile(rb"^c=IN IP4 (\S+?)\r?$", re.MULTILINE)


class NotCarried(Exception):
    """The proxy did not set a call up, or not end it."""


class Call(NamedTuple):
    """One call that is up: where each side was told to send its audio, and what its BYE needs."""

    for_caller: Address
    for_callee: Address
    bye: bytes


def _sdp(host: str, port: int) -> str:
    return (f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
            "a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n")  # fmt: skip


def _audio(body: bytes) -> Address:
    host, port = _CONNECTION.search(body), _AUDIO.search(body)
    if host is None or port is None:
        raise NotCarried(f"no audio in {body!r}")
    return host[1].decode(), int(port[1])


def _headers(message: bytes, *names: bytes) -> list[bytes]:
    """Header lines of these names, in their order, without line ends."""
    head = message.partition(b"\r\n\r\n")[0]
    return [b"%b: %b" % match.groups() for match in _HEADER.finditer(head) if match[1].lower() in names]


class Endpoints:
    """The calling and the answering side, each with one socket for SIP. Use it as a context manager."""

    def __init__(self, caller: str, callee: str, proxy: Address) -> None:
        self.proxy = proxy
        self._run = os.urandom(6).hex()
        self.caller, self.callee = (_bound(host) for host in (caller, callee))
        self._poll = select.poll()
        for sock in (self.caller, self.callee):
            self._poll.register(sock, select.POLLIN)
        self._answers: dict[bytes, bytes] = {}
        self._offers: dict[bytes, Address] = {}

    def __enter__(self) -> "Endpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.caller.close()
        self.callee.close()

    def call(self, ports: list[tuple[int, int]]) -> list[Call]:
        """A call for each pair of audio ports (the caller's, the callee's), in their order. Raises NotCarried."""
        up: dict[bytes, Call] = {}
        host, callee_host = self.caller.getsockname()[0], self.callee.getsockname()[0]
        for number, (_, port) in enumerate(ports):
            self._answers[self._id(number)] = _sdp(callee_host, port).encode()

        def take(message: bytes) -> bytes | None:
            (call_id,) = (line.partition(b": ")[2] for line in _headers(message, b"call-id"))
            if not message.startswith(b"SIP/2.0 200"):
                if message.startswith(b"SIP/2.0 1"):
                    return None
                raise NotCarried(message.partition(b"\r\n")[0].decode("utf-8", "replace"))
            if call_id not in up:
                number = int(call_id.partition(b"-")[0])
                self.caller.sendto(self._follow("ACK", number, message), self.proxy)
                up[call_id] = Call(_audio(message), self._offers[call_id], self._follow("BYE", number, message))
            return call_id

        invites = (
            (self._id(number), self._invite(number, _sdp(host, port))) for number, (port, _) in enumerate(ports)
        )
        self._exchange(invites, take)
        return [up[self._id(number)] for number in range(len(ports))]

    def hang_up(self, calls: list[Call]) -> None:
        """End these calls. Raises NotCarried."""

        def take(message: bytes) -> bytes | None:
            (call_id,) = (line.partition(b": ")[2] for line in _headers(message, b"call-id"))
            return call_id if message.startswith(b"SIP/2.0 200") and b"CSeq: 2 BYE" in message else None

        self._exchange(((self._id(number), call.bye) for number, call in enumerate(calls)), take)

    def _exchange(self, requests: Iterator[tuple[bytes, bytes]], take: Callable[[bytes], bytes | None]) -> None:
        """Send requests, a window at a time; take says which one a response has ended."""
        waiting: dict[bytes, bytes] = {}
        heard = repeated = time.monotonic()
        more = True
        while True:
            while more and len(waiting) < _WINDOW:
                if (following := next(requests, None)) is None:
                    more = False
                else:
                    waiting[following[0]] = following[1]
                    self.caller.sendto(following[1], self.proxy)
            if not waiting:
                return
            ready = [descriptor for descriptor, _ in self._poll.poll(_REPEAT * 1000)]
            now = time.monotonic()
            if ready:
                heard = repeated = now
            elif now - heard > _PATIENCE:
                raise NotCarried(f"{len(waiting)} requests without an answer")
            elif now - repeated >= _REPEAT:
                repeated = now
                for request in waiting.values():
                    self.caller.sendto(request, self.proxy)
            if self.callee.fileno() in ready:
                self._answer(*self.callee.recvfrom(65535))
            if self.caller.fileno() in ready and (ended := take(self.caller.recv(65535))) is not None:
                waiting.pop(ended, None)

    def _answer(self, request: bytes, source: Address) -> None:
        """200 to whatever the answering side is asked."""
        method = request.partition(b" ")[0]
        if method not in (b"INVITE", b"BYE"):
            return
        copied = _headers(request, b"via", b"from", b"to", b"call-id", b"cseq", b"record-route")
        body = b""
        if method == b"INVITE":
            # The user part names the call: a controlled one has another Call-ID on this side.
            call_id = request.partition(b"sip:")[2].partition(b"@")[0]
            self._offers[call_id] = _audio(request.partition(b"\r\n\r\n")[2])
            body = self._answers[call_id]
            host, port = self.callee.getsockname()
            copied = [line + b";tag=callee" if line.startswith(b"To:") else line for line in copied]
            copied += [b"Contact: <sip:callee@%b:%d>" % (host.encode(), port), b"Content-Type: application/sdp"]
        lines = [b"SIP/2.0 200 OK", *copied, b"Content-Length: %d" % len(body), b"", body]
        self.callee.sendto(b"\r\n".join(lines), source)

    def _id(self, number: int) -> bytes:
        return f"{number}-{self._run}".encode()

    def _invite(self, number: int, sdp: str) -> bytes:
        host, port = self.caller.getsockname()
        run = self._run
        uri = "sip:{}-{}@{}:{}".format(number, run, *self.callee.getsockname())
        return (
            f"INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{run}i{number};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:caller@{host}>;tag={number}\r\nTo: <{uri}>\r\nCall-ID: {number}-{run}\r\n"
            f"CSeq: 1 INVITE\r\nContact: <sip:caller@{host}:{port}>\r\nContent-Type: application/sdp\r\n"
            f"Content-Length: {len(sdp)}\r\n\r\n{sdp}"
        ).encode()

    def _follow(self, method: str, number: int, answer: bytes) -> bytes:
        """ACK or BYE in the dialog that an answer made."""
        host, port = self.caller.getsockname()
        (contact,) = (line[len("Contact: <"):-1].decode() for line in _headers(answer, b"contact"))
        routes = [line.partition(b": ")[2].decode() for line in _headers(answer, b"record-route")]
        same = [line.decode() for line in _headers(answer, b"from", b"to", b"call-id")]
        lines = [
            f"{method} {contact} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{self._run}{method[0].lower()}{number};rport",
            "Max-Forwards: 70", *(f"Route: {route}" for route in reversed(routes)), *same,
            f"CSeq: {1 if method == 'ACK' else 2} {method}", "Content-Length: 0", "", "",
        ]  # fmt: skip
        return "\r\n".join(lines).encode()


def _bound(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((host, 0))
    return sock
