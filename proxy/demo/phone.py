"""An endpoint of the demo: a user agent on a UDP socket that sends everything through the edge."""
import asyncio
from collections.abc import Callable, Sequence

from sipcore.net.endpoint import Endpoint, monotonic_ms
from sipcore.net.udp import bind_udp
from sipcore.stack.handler import Handler
from sipcore.stack.identity import Identity
from sipcore.stack.outgoing import Outgoing, raw, uri_of
from sipcore.stack.uac import ClientTransaction
from sipcore.stack.uas import ServerTransaction
from sipcore.stack.useragent import UserAgent
from sipcore.wire.uri import URI

from .call import PATIENCE, Call, Unexpected
from .media import Rtp
from .voice import Voice

ALLOW = ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY")
SOFTWARE = "sipedge-demo"
MOST_CALLS = 32

Address = tuple[str, int]
Trace = Callable[[str, str, bytes], None]
"""Called with the phone's name, "in" or "out", and the message."""


class Phone(Handler):
    """One endpoint. user: user part of its address; frequency: of the tone that it plays to whoever it talks to.

    Raises OSError where its address is taken.
    """

    def __init__(self, name: str, user: str, address: Address, edge: Address, *, frequency: int, trace: Trace,
                 secret: bytes):
        self.name = name
        self.user = user
        self.host = address[0]
        self.edge = edge
        self.frequency = frequency
        self.voice: Voice | None = None
        """What it says in calls from now on, which are recorded; None: its tone."""
        self.calls: list[Call] = []
        self.audio: list[Rtp] = []
        """Of every call, ended ones too: what they sent and received."""
        self._arrived: asyncio.Queue[Call] = asyncio.Queue(MOST_CALLS)
        self.loop = asyncio.get_running_loop()
        self.agent = UserAgent(Identity(secret), handler=self, transactions=4096, memory=64 << 20)
        self.agent.add_listener(*address)
        self.endpoint = Endpoint(self.agent, [bind_udp(*address)])
        self.endpoint.set_trace(lambda direction, _listener, _host, _port, data: trace(name, direction, data))
        self.endpoint.start(self.loop)

    @property
    def own_uri(self) -> str:
        return f"sip:{self.user}@{self.host}"

    def now(self) -> int:
        """ms."""
        return monotonic_ms()

    def wake(self) -> None:
        """Let the pump send what was queued, once the step that is being taken is over."""
        self.loop.call_soon(self._wake)

    def _wake(self) -> None:
        if self.endpoint.running:
            self.endpoint.wake()

    def open_audio(self, frequency: int, *, echo: bool = False) -> Rtp:
        """A port for a call's audio."""
        rtp = Rtp(self.host, frequency=frequency, voice=None if echo else self.voice, echo=echo)
        self.audio = [*self.audio[-MOST_CALLS:], rtp]
        return rtp

    def close(self) -> None:
        """Forget all calls, close all sockets."""
        for call in list(self.calls):
            call.close()
        self.endpoint.close()

    # --- requests of its own

    def outgoing(self, method: str, uri: str, *, headers: Sequence[tuple[str, str]] = (),
                 body: bytes = b"") -> Outgoing:
        """A request that begins something."""
        return Outgoing(method=method, uri=uri, call_id=self.agent.new_call_id(), cseq=1, local=f"<{self.own_uri}>",
                        local_tag=self.agent.new_tag(), remote=f"<{uri}>", contact=self.agent.contact(self.user),
                        headers=(*headers, ("User-Agent", SOFTWARE)), body=body)

    def send(self, out: Outgoing, to: Address, handler: Handler) -> ClientTransaction:
        client = self.agent.request(self.now(), out, to, handler)
        self.wake()
        return client

    def call(self, uri: str, headers: Sequence[tuple[str, str]] = ()) -> Call:
        """INVITE somebody through the edge."""
        call = Call(self, self.frequency)
        call.invite(uri, headers)
        self.calls.append(call)
        return call

    # --- requests that come

    async def called(self, by: str, patience: float = PATIENCE) -> Call:
        """The next call that comes in from that URI within patience (s): others may be calling, too. Raises
        Unexpected."""
        try:
            async with asyncio.timeout(patience):
                while True:
                    call = await self._arrived.get()
                    if call.dialog is not None and uri_of(call.dialog.remote) == by:
                        return call
        except TimeoutError:
            raise Unexpected(f"{self.name}: no call within {patience} s") from None

    def on_request(self, tx: ServerTransaction) -> None:
        method = tx.request.method
        if method == "INVITE" and len(self.calls) >= MOST_CALLS:
            tx.respond(self.now(), 486)
        elif method == "INVITE":
            call = Call(self, self.frequency)
            if call.take(tx):
                self.calls.append(call)
                self.on_invite(call, URI(raw(tx.request.uri)).user or "")
                if self._arrived.full():
                    self._arrived.get_nowait()
                self._arrived.put_nowait(call)
        elif method == "OPTIONS":
            tx.respond(self.now(), 200, headers=[ALLOW])
        else:
            tx.respond(self.now(), 405, headers=[ALLOW])

    def on_invite(self, call: Call, user: str) -> None:
        """Somebody calls that user."""
        call.ring()
        call.answer()

    def on_refer(self, call: Call, tx: ServerTransaction) -> None:
        """The other side of the call wants this one to call somebody else."""
        tx.respond(self.now(), 603)
