"""The audio of a worker: the relay with its ports, the anchor that the stack asks, and what both have to say."""
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any, NamedTuple

from proxy.calls.media import SRTP
from proxy.config import Config
from proxy.machine import allow_files, folder_of, no_offload, ready_pairs, streams_allowed
from proxy.policy.addresses import Address
from proxy.policy.media import choices, parse_ports, profiles, sessions_ever, without_keys
from sipcore.anchor.anchor import Anchor
from sipcore.anchor.bridges import Bridges
from sipcore.anchor.sessions import profile, sessions_of, wrong_sources
from sipcore.media.offload_program import Program, problem
from sipcore.media.ports import PortPool
from sipcore.media.relay import HEARD_AGAIN, LATCHED, SILENT, TIMEOUT, MediaRelay
from sipcore.media.tap import Tap

# The numbers of media.latch.Learning, wire.sdp.MediaKind, anchor.description.Treatment and anchor.sdes.SrtpMode.
LEARNING = {"off": 0, "signalled-first": 1, "any": 2}
KINDS = {"audio": 1, "video": 2, "text": 5}
OTHER = {"refuse": 0, "pass": 1}
RANKS = ("nobody named it", "where its SIP came from", "signalled address, another port", "signalled address and port")
"""How a source was recognised, by its rank."""
SIDES = ("caller", "callee")
COUNTED = {
    "packets": "rtp_in", "octets": "rtp_bytes_in", "rtcp": "rtcp_in", "sent": "rtp_out", "sent_octets": "rtp_bytes_out",
    "sent_rtcp": "rtcp_out", "wrong_source": "rtp_wrong_source", "early": "rtp_early", "unheard": "rtp_unheard",
    "stun": "rtp_stun", "dtls": "rtp_dtls", "zrtp": "rtp_zrtp", "other": "rtp_other", "truncated": "rtp_truncated",
    "giant": "rtp_giant", "send_failed": "rtp_send_failed", "unsendable": "rtp_unsendable",
    "unauthentic": "srtp_unauthentic", "replayed": "srtp_replayed", "late": "rtp_late",
    "kernel_drops": "rtp_kernel_drops", "events_lost": "media_events_lost", "commands_lost": "media_commands_lost",
    "offloads": "media_offloads",
}
"""What the relay counts, and what the page calls it."""


@dataclass(frozen=True, slots=True)
class Said:
    """Something that happened to a call's audio, for the log. over: it had none for too long, and ends."""

    level: str
    event: str
    record: int
    generation: int
    fields: dict[str, Any]
    over: bool = False
    folder: str = ""
    """Where the call is to be recorded; said when its audio begins."""


class Audio:
    """Raises OSError where the relay cannot be had or an address is not on this machine. trouble: what the log is to
    be told at the start, where there is something."""

    def __init__(self, config: Config):
        relay = config.relay
        room = max(1, min(sessions_ever(config), streams_allowed(config)))
        self._places = _places(config)
        pools = [_pool(place) for place in self._places]
        self._program, self.trouble = _program(pools) if relay.offload else (None, "")
        self.relay = MediaRelay(
            pools, sessions=room, program=self._program,
            learn_ms=_ms(relay.learn_seconds), silence_ms=_ms(relay.silence_seconds),
            timeout_ms=_ms(relay.timeout_seconds), places=max(256, room // 4), tap=Tap())
        self._timeout_us = 1000 * _ms(relay.timeout_seconds)
        self.anchor = Anchor(self.relay, calls=room)
        self.bridges = Bridges(self.anchor)
        self._follow(config, ahead=True)

    def configure(self, config: Config) -> None:
        """Take over other addresses, ports and rules for the calls that begin from now on. OSError where an address
        cannot be had; nothing has changed then."""
        new = [place for place in _places(config) if place not in self._places]
        for place, pool in [(place, _pool(place)) for place in new]:
            self.relay.add_pool(pool)
            self._places.append(place)
        allow_files(config)
        self._follow(config)

    def _follow(self, config: Config, *, ahead: bool = False) -> None:
        # Ports that are configured no more serve their calls to the end, and stay bound no longer.
        numbers = self._in_use = [self._places.index(place) for place in _places(config)]
        for number in range(len(self._places)):
            # Binding takes a while: only a start waits for it, and calls go on in between.
            self.relay.keep(number, ready_pairs(config) if number in numbers else 0, ahead=ahead)
        kinds = sum(1 << KINDS[kind] for kind in config.relay.kinds)
        self.ends = config.relay.on_timeout == "end"
        self._folders = [str(folder_of(config, one.record)) if one.record else "" for one in profiles(config)]
        self.anchor.configure(
            [[numbers[index] for index in choices(config, listener)] for listener in range(len(config.listeners))],
            [(LEARNING[one.learning], kinds, OTHER[config.relay.other], bool(one.record),
              (SRTP[one.srtp[0]], SRTP[one.srtp[1]])) for one in profiles(config)],
            config.relay.srtp_suites, without_keys(config))

    def take_events(self) -> Iterator[Said]:
        """What has happened since; of calls that are over, nothing. Controlled calls are told themselves."""
        for kind, session, _, side, value, address in self.relay.take_events():
            if self.bridges.take(kind, session, side, value, address):
                continue
            owner = self.anchor.owner(session) if kind in (LATCHED, SILENT, HEARD_AGAIN, TIMEOUT) else None
            if owner is None:
                continue
            record, generation, section = owner
            fields: dict[str, Any] = {"stream": section}
            if side < len(SIDES):
                fields = {"side": SIDES[side], **fields, "port": self.relay.port(session, side)}
            where = str(Address(*address)) if address else "nowhere yet"
            if kind == LATCHED:
                yield Said("debug", "audio source", record, generation, fields | {"from": where, "as": RANKS[value]},
                           folder=self._folder(session))
            elif kind == SILENT:
                yield Said("warning", "no audio", record, generation, fields | {"seconds": value / 1000,
                                                                               "expected_from": where})
            elif kind == HEARD_AGAIN:
                yield Said("info", "audio again", record, generation, fields | {"seconds": value / 1000, "from": where})
            else:
                over = self.ends and self._silent(record, generation)
                yield Said("warning", "audio timeout", record, generation, fields | {
                    "seconds": value / 1000, "action": "call ended here" if over else "none"}, over=over)

    def _silent(self, record: int, generation: int) -> bool:
        """Whether nothing has come on any stream of a call for the time-out: one may go on without the other."""
        since = monotonic_ns() // 1000 - self._timeout_us
        return all(self.relay.side_counters(session, side)["alive_us"] <= since
                   for session in sessions_of(self.anchor, record, generation) for side in range(len(SIDES)))

    def _folder(self, session: int) -> str:
        number = profile(self.anchor, session)
        return self._folders[number - 1] if 0 < number <= len(self._folders) else ""

    def wrong_sources(self) -> Iterator[tuple[tuple[int, int], Said]]:
        """For each side at whose port packets of a wrong source were dropped: (session and its generation with side),
        and what there is to say."""
        for session, side, packets in wrong_sources(self.anchor):
            owner = self.anchor.owner(session)
            if owner is not None:
                record, generation, _ = owner
                yield (session * 4 + side, self.relay.generation(session)), Said(
                    "warning", "audio from a wrong source dropped", record, generation,
                    {"side": SIDES[side], "port": self.relay.port(session, side), "packets": packets})

    def statistics(self) -> dict[str, int]:
        """Counters and gauges by the page's names."""
        totals = self.relay.totals()
        pools = self.relay.pools
        counted = {name: totals[own] for own, name in COUNTED.items()}
        return self.anchor.statistics() | self.bridges.statistics() | counted | {
            "media_sessions_refused": self.relay.refused,
            "media_ports_exhausted": sum(pool.exhausted for pool in pools),
            "media_ports_taken": sum(pool.skipped for pool in pools),
            "media_ports_failed": sum(pool.failed for pool in pools),
            "media_sessions": self.relay.open_sessions,
            "media_offloaded": totals["offloaded"],
            "media_ports_used": sum(pool.used for pool in pools),
            "media_ports_free": sum(pools[number].free for number in self._in_use),
        }

    def stop(self) -> None:
        """End the thread, close every port."""
        self.relay.stop()
        if self._program is not None:
            self._program.close()


class _Place(NamedTuple):
    """What makes a pool of ports another one."""

    bind: str
    advertise: str
    ports: str
    quarantine: float


def _places(config: Config) -> list[_Place]:
    return [_Place(media.bind, media.advertise, media.ports, config.relay.quarantine_seconds) for media in config.media]


def _pool(place: _Place) -> PortPool:
    ports = parse_ports(place.ports)
    return PortPool(place.bind, ports.start, ports.stop - 1, advertised=place.advertise, quarantine=place.quarantine)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _program(pools: list[PortPool]) -> tuple[Program | None, str]:
    """What hands streams to the kernel; or None and why that cannot be had here, though it can on this machine: else
    the supervisor says so."""
    try:
        return Program([pool.bound for pool in pools], sum(pool.pairs for pool in pools)), ""
    except OSError as error:
        return None, "" if problem() else no_offload(error.strerror or str(error))
