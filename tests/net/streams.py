"""A Proxy on a loopback listener of a stream, its peers and targets, and a loop that the test turns by hand."""
import asyncio
import contextlib
import socket

import uvloop

from sipcore.base.trie import Trie
from sipcore.net.endpoint import Endpoint
from sipcore.net.listening import listen_stream
from sipcore.net.stream import Streams
from sipcore.net.udp import bind_udp
from sipcore.stack.admission import Admission
from sipcore.stack.proxy import Proxy
from sipcore.stack.verdict import Target, Verdict
from sipcore.wire.framer import Framing
from sipcore.wire.message import Message
from tests.endpoints import build

METHODS = ("INVITE", "OPTIONS", "MESSAGE")
LOCAL = Verdict(action=Verdict.LOCAL, status=200, reason="OK")


def request(method="OPTIONS", *, to="sip:edge@127.0.0.1", branch="1", transport="TCP", port=5070, headers=(),
            body=b"", call_id="call-1", length=True):
    return build(f"{method} {to} SIP/2.0", [
        ("Via", f"SIP/2.0/{transport} 127.0.0.1:{port};branch=z9hG4bK{branch}"), ("From", "<sip:a@127.0.0.1>;tag=1"),
        ("To", f"<{to}>"), ("Call-ID", call_id), ("CSeq", f"1 {method}"), ("Max-Forwards", "70"),
        ("Contact", f"<sip:a@127.0.0.1:{port};transport=tcp>"), *headers], body, length)


class Peer:
    """One end of a connection to the edge."""

    def __init__(self, edge, sock):
        self.edge = edge
        self.sock = sock
        self.framing = Framing()
        self.frames = []
        self.ended = False

    def send(self, *parts):
        for part in parts:
            self.sock.sendall(part)

    def read(self):
        """Take in what has come; whether anything did."""
        try:
            data = self.sock.recv(65536)
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionError:
            data = b""
        if not data:
            self.ended = True
        self.frames += self.framing.feed(data)
        return bool(data)

    def until(self, true):
        def enough():
            while not self.ended and self.read():
                pass
            return true(self)

        self.edge.until(enough)

    def take(self, count=1):
        """The next frames that are messages."""
        self.until(lambda peer: len([kind for kind, _ in peer.frames if kind == "message"]) >= count)
        found = [data for kind, data in self.frames if kind == "message"]
        self.frames = []
        return found

    def closed(self):
        self.until(lambda peer: peer.ended)

    def close(self):
        self.sock.close()


class Edge:
    """A Proxy whose listeners are `tcp` (or another transport) and, behind it, `udp`."""

    def __init__(self, verdict=LOCAL, transport="tcp", *, listed="127.0.0.0/8", message_limit=65535, connections=64,
                 tls=(), groups=None, rate=1000, **limits):
        self.loop = uvloop.new_event_loop()
        self.lines: list[tuple] = []
        self.listening = listen_stream(transport, "127.0.0.1", 0)
        self.udp = bind_udp("127.0.0.1", 0)
        self.address = self.listening.getsockname()[:2]
        self.admission = Admission([Trie([(listed, 0)] if listed else [])] * 2, unlisted_rate=1000)
        self.admission.add_group("allow", METHODS)

        def decide(_):
            return verdict(self) if callable(verdict) else verdict

        self.proxy = Proxy(admission=self.admission, decide=decide, transactions=4096, dialogs=256)
        self.proxy.overload.limit_to(0, 900, 10)  # lag of a busy machine refuses nothing
        self.proxy.add_listener("127.0.0.1", self.address[1], transport=transport)
        self.proxy.add_listener(*self.udp.getsockname()[:2])
        self.proxy.set_limits(message=message_limit)
        self.streams = Streams(self.proxy, [self.listening, None], [transport, "udp"], connections=connections,
                               message_limit=message_limit, rate=rate,
                               log=lambda level, event, fields: self.lines.append((level, event, fields)))
        self.settings = {"tls": tls, "groups": groups, **limits}
        self.streams.configure(**self.settings)
        self.endpoint = Endpoint(self.proxy, [None, self.udp], message_limit=message_limit, streams=self.streams)
        self.endpoint.start(self.loop)
        self.peers = []
        self.targets = []

    def connect(self, source="127.0.0.1"):
        sock = socket.socket()
        sock.bind((source, 0))
        sock.connect(self.address)
        sock.setblocking(False)
        peer = Peer(self, sock)
        self.peers.append(peer)
        return peer

    def count(self, name):
        return self.endpoint.statistics()[name]

    def turn(self, times=5):
        for _ in range(times):
            self.loop.run_until_complete(asyncio.sleep(0))

    def until(self, true, seconds=60.0):
        """Turn the loop until true() holds."""
        end = self.loop.time() + seconds
        while not true():
            assert self.loop.time() < end
            self.loop.run_until_complete(asyncio.sleep(0))

    def close(self):
        for one in (*self.peers, *self.targets):
            one.close()
        self.endpoint.close()
        self.loop.close()


@contextlib.contextmanager
def running(*arguments, **options):
    """An Edge, closed at the end."""
    edge = Edge(*arguments, **options)
    try:
        yield edge
    finally:
        edge.close()


def statuses(messages):
    return [Message(data).status for data in messages]


class Listening:
    """A listening socket that the edge connects to."""

    def __init__(self, edge):
        self.edge = edge
        edge.targets.append(self)
        self.sock = listen_stream("tcp", "127.0.0.1", 0)
        self.address = self.sock.getsockname()[:2]

    def verdict(self, *others):
        return Verdict(targets=tuple(Target(host, port, 0, transport="tcp") for host, port in (self.address, *others)))

    def accept(self):
        found = []

        def came():
            with contextlib.suppress(BlockingIOError):
                found.append(self.sock.accept()[0])
            return found

        self.edge.until(came)
        found[0].setblocking(False)
        peer = Peer(self.edge, found[0])
        self.edge.peers.append(peer)
        return peer

    def close(self):
        self.sock.close()


def answer(data, status=200, reason="OK"):
    """A response to a request."""
    message = Message(data)
    lines = [f"SIP/2.0 {status} {reason}"]
    lines += [f"{name}: {value}" for name, value in message.items()
              if name.lower() in ("via", "from", "call-id", "cseq")]
    lines.append(f"To: {message.header('To')};tag=b")
    return ("\r\n".join([*lines, "Content-Length: 0"]) + "\r\n\r\n").encode()
