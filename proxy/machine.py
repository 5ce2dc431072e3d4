"""What this machine has to say about a configuration: media addresses, ports, folders, open files."""
import resource
import socket
import sys
import tempfile
from pathlib import Path

from proxy.config import Config, Problem
from proxy.policy.addresses import parse_host
from proxy.policy.media import SIDES, pairs, parse_ports, sessions
from sipcore.media import offload_program

KERNEL = Path("/proc/sys/net/ipv4")
"""The same settings are for IPv6."""
FILES_OF_A_SIDE = 2
"""Sockets: RTP and RTCP."""
OTHER_FILES = 256
"""Listeners, log, counters, control socket, what the interpreter holds, and room."""


def strangers(config: Config) -> list[Problem]:
    """Media addresses that cannot be bound here."""
    found = []
    for index, media in enumerate(config.media):
        host = parse_host(media.bind)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((host, 0))
            except OSError as error:
                found.append(Problem(("media", index, "bind"), f'"{media.bind}" cannot be bound on this machine '
                                     f"({error.strerror}); expected the address of an interface that is up"))
    return found


def folder_of(config: Config, folder: str) -> Path:
    """A folder that the configuration names, relative to its file."""
    return Path(config.file).absolute().parent / folder


def closed_folders(config: Config) -> list[Problem]:
    """Folders for recordings that cannot be made or written to; those that were missing are there afterwards."""
    found = []
    for index, route in enumerate(config.routes):
        if route.record:
            folder = folder_of(config, route.record)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    pass
            except OSError as error:
                found.append(Problem(("route", index, "record"), f"{folder} cannot be written to ({error.strerror}); "
                                                                 "expected a folder of the edge's own"))
    return found


def no_offload(why: str) -> str:
    """That streams cannot be handed to the kernel, for the log."""
    return f"relay.offload: {why}; the relay passes all audio on by itself"


def remarks(config: Config, kernel: Path = KERNEL) -> list[str]:
    """Media ports that the system may give to anybody who asks for a port; audio that cannot be the kernel's."""
    found = []
    if config.media and config.relay.offload and (why := offload_program.problem()):
        found.append(no_offload(why))
    try:
        first, last = map(int, (kernel / "ip_local_port_range").read_text().split())
        reserved = _port_list((kernel / "ip_local_reserved_ports").read_text())
    except (OSError, ValueError):
        return found
    for media in config.media:
        ports = parse_ports(media.ports)
        if set(ports) & set(range(first, last + 1)) - reserved:
            found.append(
                f'media "{media.name}": ports {media.ports} overlap with {first}-{last}, which the system gives to '
                f"programs that ask for any port (net.ipv4.ip_local_port_range): some calls will find their port "
                f"taken. Take ports outside of it, or keep these free: "
                f"sysctl -w net.ipv4.ip_local_reserved_ports={media.ports}")
    return found


def _port_list(text: str) -> set[int]:
    """`8080,9148-9150` as numbers."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            found.update(range(int(first), int(last or first) + 1))
    return found


def ready_pairs(config: Config) -> int:
    """Pairs of ports of each media address that stay bound: as configured, but at most half of the files allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or not config.media:
        return config.relay.ready
    return min(config.relay.ready, max(0, hard - OTHER_FILES) // 2 // (FILES_OF_A_SIDE * len(config.media)))


def _ready_files(config: Config) -> int:
    return FILES_OF_A_SIDE * sum(min(ready_pairs(config), pairs(media)) for media in config.media)


def _connections(config: Config) -> int:
    """Connections that may be open at a time."""
    return config.streams.connections if any(not one.bind.startswith("udp:") for one in config.listeners) else 0


def streams_allowed(config: Config) -> int:
    """Streams that the limit of open files leaves room for, as far as it may be raised."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(0, hard - OTHER_FILES - _ready_files(config) - _connections(config)) // (SIDES * FILES_OF_A_SIDE)


def allow_files(config: Config) -> str:
    """Raise the limit of open files as far as this process may, which its children inherit; what to say where that
    is not enough for `relay.sessions` and `streams.connections`, else nothing."""
    connections = _connections(config)
    if not config.media and not connections:
        return ""
    needed = OTHER_FILES + connections
    if config.media:
        needed += sessions(config) * SIDES * FILES_OF_A_SIDE + _ready_files(config)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return ""
    try:
        # Above the hard limit only with CAP_SYS_RESOURCE.
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard if hard >= needed or hard < 0 else needed))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    else:
        return ""
    if not config.media:
        return (f"{connections} connections take {needed} open files, and the limit is {hard}: more than "
                f"{max(0, hard - OTHER_FILES)} will have to wait. Raise it (LimitNOFILE= of the service, ulimit -n), "
                f"or lower streams.connections")
    most = streams_allowed(config)
    return (f"{sessions(config)} audio streams and the ports kept ready take {needed} open files, and the limit is "
            f"{hard}: more than {most} streams at a time will be refused. Raise it (LimitNOFILE= of the service, "
            f"ulimit -n), or lower relay.sessions")
