"""Asks one address OPTIONS as the edge would ask it: over the same stack, sockets and certificate checks."""
import asyncio
import contextlib
import socket
import ssl
import tempfile
from datetime import UTC

from sipcore.base.errors import MalformedMessage
from sipcore.base.place import Reached
from sipcore.net.endpoint import Endpoint, monotonic_ms
from sipcore.net.listening import listen_stream
from sipcore.net.stream import Streams
from sipcore.net.tls import TlsContext, read_certificate, validity
from sipcore.net.udp import bind_udp
from sipcore.stack.handler import Handler
from sipcore.stack.outgoing import Outgoing
from sipcore.stack.uac import ClientTransaction
from sipcore.stack.useragent import UserAgent
from sipcore.wire.digest import parse_challenges
from sipcore.wire.message import Message
from sipcore.wire.sdp import Sdp

from .report import Answer, Certificate

MOST = 64
"""Of the methods, option tags, types and codecs that an answer names."""
LONGEST = 200
"""Characters of a text that an answer brings."""


class _Asked(Handler):
    """Waits for the final answer to one OPTIONS."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.response: Message | None = None
        self.unreachable = False

    def on_response(self, tx: ClientTransaction, response: Message) -> None:
        if response.status >= 200:
            self.response = response
            self.over.set()

    def on_timeout(self, tx: ClientTransaction, unreachable: bool) -> None:
        self.unreachable = unreachable
        self.over.set()


async def ask(uri: str, to: Reached, context: TlsContext | None, seconds: float, source: str = "") -> Answer:
    """What an address answers within so many seconds. source: our own address to ask from; by default the one that the
    system takes."""
    address = f"{to.transport}:{f'[{to.ip}]' if ':' in to.ip else to.ip}:{to.port}"
    local = source or _local(to)
    if not local:
        return Answer(address=address, fault="there is no way to it from this machine")
    if to.transport == "tls" and context is None:
        return Answer(address=address, fault="there is no TLS listener to reach it from")
    certificate = await _shown(to, seconds) if to.transport == "tls" else None
    said: list[str] = []
    with contextlib.closing(_bound(to.transport, local)) as sock:
        agent = UserAgent()
        agent.add_listener(local, sock.getsockname()[1], transport=to.transport)
        streams = None
        if to.transport != "udp":
            streams = Streams(agent, [sock], [to.transport], log=lambda level, event, fields: said.append(
                str(fields.get("reason") or fields.get("error") or event)))
            # Nobody is let in: this end only asks.
            streams.configure(per_source=0, unlisted=0, connect=round(1000 * seconds),
                              handshake=round(1000 * seconds), tls=[None if context is None else (context, context)])
        endpoint = Endpoint(agent, [None if streams else sock], streams=streams)
        endpoint.start(asyncio.get_running_loop())
        asked = _Asked()
        began = monotonic_ms()
        try:
            hop = (to.ip, to.port) if to.transport == "udp" else (
                to.ip, to.port, to.transport, agent.name_number(to.name) if to.name else 0)
            agent.request(began, _options(agent, uri), hop, asked)
            endpoint.wake()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asked.over.wait(), seconds)
        finally:
            endpoint.stop()
        if asked.response is None:
            fault = said[-1] if said else "nothing listens there" if asked.unreachable else \
                f"no answer within {seconds:g} s"
            return Answer(address=address, fault=fault, certificate=certificate)
        return _answer(address, asked.response, monotonic_ms() - began, certificate)


def _options(agent: UserAgent, uri: str) -> Outgoing:
    return Outgoing(method="OPTIONS", uri=uri, call_id=agent.new_call_id(), cseq=1,
                    local=agent.contact("preflight"), local_tag=agent.new_tag(), remote=f"<{uri}>",
                    contact=agent.contact("preflight"), headers=(("Accept", "application/sdp"),))


def _local(to: Reached) -> str:
    """Our address on the way to another; sends nothing."""
    family = socket.AF_INET6 if ":" in to.ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((to.ip, to.port))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def _bound(transport: str, host: str) -> socket.socket:
    return bind_udp(host, 0) if transport == "udp" else listen_stream(transport, host, 0)


async def _shown(to: Reached, seconds: float) -> Certificate | None:
    """The certificate that a server shows, whether it is good or not: whether it is good is for the stack to say."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(to.ip, to.port, ssl=context, server_hostname=to.name or to.ip)
    except (OSError, TimeoutError):
        return None
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    if not found:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(ssl.DER_cert_to_PEM_cert(found))
        file.flush()
        certificate = read_certificate(file.name)
        _, until = validity(file.name)
    return Certificate(names=(*certificate.uris, *certificate.names, *certificate.addresses)[:MOST],
                       until=until.astimezone(UTC).isoformat(timespec="seconds"))


def _answer(address: str, response: Message, ms: int, certificate: Certificate | None) -> Answer:
    allow = response.joined("Allow")
    codecs: tuple[str, ...] = ()
    if response.body and (response.header("Content-Type") or "").lower().startswith("application/sdp"):
        with contextlib.suppress(ValueError):
            codecs = tuple(dict.fromkeys(f"{codec.name}/{codec.clock}" for media in Sdp(response.body).media
                                         for codec in media.codecs))
    return Answer(
        address=address, status=response.status, reason=_text(response.reason), ms=ms,
        server=_text(response.header("Server") or response.header("User-Agent") or ""),
        allow=None if allow is None else tuple(one.upper() for one in _values(allow)),
        supported=tuple(one.lower() for one in _values(response.joined("Supported"))),
        accept=_values(response.joined("Accept")), codecs=codecs[:MOST], realms=_realms(response),
        certificate=certificate)


def _realms(response: Message) -> tuple[str, ...]:
    found: list[str] = []
    for name in ("WWW-Authenticate", "Proxy-Authenticate"):
        for value in response.headers(name):
            with contextlib.suppress(MalformedMessage):
                found += [_text(challenge.realm) for challenge in parse_challenges(value)]
    return tuple(dict.fromkeys(found))


def _values(text: str | None) -> tuple[str, ...]:
    return tuple(_text(one.strip()) for one in (text or "").split(",")[:MOST] if one.strip())


def _text(text: str) -> str:
    """What a stranger sent, fit for a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text[:LONGEST])
