"""Streams by the configuration: sockets, certificates, limits, and what the certificates' files have to say."""
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from proxy.config import Config, Problem, Tls
from proxy.policy.addresses import bind_address
from sipcore.net.listening import listen_stream
from sipcore.net.stream import Streams
from sipcore.net.tls import TlsContext, validity
from sipcore.net.udp import bind_udp
from sipcore.stack.layer import Layer

SOON = timedelta(days=14)
"""A certificate that ends within this time is worth a warning."""

Log = Callable[[str, str, dict[str, object]], None]
Contexts = list[tuple[TlsContext, TlsContext] | None]


def bind(config: Config, index: int) -> socket.socket:
    """The socket of a listener (by index). OSError says what could not be bound."""
    listener = config.listeners[index]
    transport, address = bind_address(listener.bind)
    if transport != "udp":
        return listen_stream(transport, address.host, address.port)
    return bind_udp(address.host, address.port, buffer_bytes=listener.receive_buffer,
                    send_buffer_bytes=listener.send_buffer)


def transports(config: Config) -> list[str]:
    return [bind_address(listener.bind)[0] for listener in config.listeners]


def streams(config: Config, layer: Layer, sockets: list[socket.socket], log: Log) -> Streams | None:
    """The connections of a layer whose listeners are those of the configuration; None where all are UDP's.

    sockets: by listener. Raises ValueError for a certificate that cannot be read.
    """
    kinds = transports(config)
    if set(kinds) == {"udp"}:
        return None
    limits = config.streams
    built = Streams(
        layer, [None if kind == "udp" else sock for kind, sock in zip(kinds, sockets, strict=True)], kinds,
        connections=limits.connections, message_limit=config.limits.message_size, rate=limits.rate, log=log)
    follow(built, config, contexts(config))
    return built


def follow(running: Streams, config: Config, tls: Contexts) -> None:
    """Let connections follow a configuration; those that are there stay, whatever certificate they began with."""
    limits = config.streams
    running.configure(
        tls=tls, origins=[listener.origins for listener in config.listeners],
        groups=_groups(config),
        per_source=limits.per_source, unlisted=limits.unlisted, queue=limits.queue, idle=_ms(limits.idle_timeout),
        unlisted_idle=_ms(limits.unlisted_idle_timeout), handshake=_ms(limits.handshake_timeout),
        message=_ms(limits.message_timeout), write=_ms(limits.write_timeout), connect=_ms(limits.connect_timeout),
        keepalive=limits.keepalive * 1000)


def _groups(config: Config) -> dict[str, int]:
    """The number of a group by a name that a certificate proves."""
    return {name.lower(): index for index, group in enumerate(config.groups) for name in group.certificates}


def contexts(config: Config) -> Contexts:
    """By listener, what TLS needs for connections that come in and for those that the edge opens. The files are read
    now; ValueError says what is wrong with which."""
    folder = Path(config.file).absolute().parent
    by_name = {one.name: one for one in config.tls}
    found: Contexts = []
    for listener in config.listeners:
        named = [by_name[name] for name in listener.tls]
        found.append((_context(folder, named, server=True), _context(folder, named[:1], server=False))
                     if named else None)
    return found


def _context(folder: Path, named: list[Tls], *, server: bool) -> TlsContext:
    first = named[0]
    return TlsContext(
        server=server, certificates=[(str(folder / one.certificate), str(folder / one.key)) for one in named],
        ca=str(folder / first.ca) if first.ca else "", client_certificate=first.client_certificate,
        minimum_version=first.minimum_version)


def unusable(config: Config, folder: Path) -> Iterator[Problem]:
    """Certificates, keys and authorities that cannot be read, or do not fit each other."""
    for index, one in enumerate(config.tls):
        if one.client_certificate != "none" and not one.ca:
            continue            # told by the check of the tables
        missing = list(_missing(one, folder))
        for key, text in missing:
            yield Problem(("tls", index, key), text)
        if missing:
            continue
        try:
            _context(folder, [one], server=True)
            _context(folder, [one], server=False)
        except ValueError as error:
            # It begins with the file's name.
            key = next((key for key, file in _files(one) if str(error).startswith(f"{folder / file}:")), "key")
            yield Problem(("tls", index, key), str(error))


def _files(one: Tls) -> list[tuple[str, str]]:
    named = (("certificate", one.certificate), ("key", one.key), ("ca", one.ca))
    return [(key, file) for key, file in named if file]


def _missing(one: Tls, folder: Path) -> Iterator[tuple[str, str]]:
    """Keys of the table whose files cannot be opened, and why."""
    for key, file in _files(one):
        try:
            (folder / file).open("rb").close()
        except OSError as error:
            yield key, f"cannot read {file}: {error.strerror}"


def remarks(config: Config, now: datetime | None = None) -> list[str]:
    """Certificates that are not valid now, or will not be for long."""
    now = now or datetime.now(UTC)
    found = []
    for one in config.tls:
        try:
            begins, ends = validity(str(Path(config.file).absolute().parent / one.certificate))
        except ValueError:
            continue
        if now < begins:
            found.append(f'tls "{one.name}": the certificate is valid from {begins:%Y-%m-%d %H:%M} UTC only')
        elif now > ends:
            found.append(f'tls "{one.name}": the certificate has ended on {ends:%Y-%m-%d %H:%M} UTC: peers will '
                         "refuse it")
        elif ends - now < SOON:
            found.append(f'tls "{one.name}": the certificate ends on {ends:%Y-%m-%d %H:%M} UTC')
    return found


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
