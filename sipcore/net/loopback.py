"""A network in memory: loss, delay, reordering and duplication out of a seed, under a clock that tests turn.

A Link carries datagrams between stack cores (Layer, Proxy) and scripted ports by (host, port). Nothing happens
but in `run`, in the order of due time, then of sending: the same seed and the same calls give the same packets.
"""
import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sipcore.stack.layer import Layer

Address = tuple[str, int]

STORM = 100_000     # steps in one millisecond from which on a test is caught in a loop


@dataclass(frozen=True, slots=True)
class Conditions:
    """How a path treats a datagram: delay (ms), up to jitter more (what reorders), probabilities of loss and of a
    second copy."""

    delay: int = 0
    jitter: int = 0
    loss: float = 0.0
    duplicate: float = 0.0


@dataclass(frozen=True, slots=True)
class Packet:
    """One datagram as it was sent, at `at` ms."""

    at: int
    source: Address
    to: Address
    data: bytes


class Port:
    """A scripted end of the link: what arrives waits in `inbox`, or goes to `on_packet` where that is set."""

    def __init__(self, link: "Link", address: Address) -> None:
        self.link = link
        self.address = address
        self.inbox: list[Packet] = []
        self.on_packet: Callable[[Packet], None] | None = None

    def send(self, data: bytes, to: Address) -> None:
        self.link.send(self.address, to, data)


class Link:
    """Cores and ports, joined. seed: of all chances; conditions: of every path without its own in `paths`.

    unreachable: whether a core hears of it when nobody listens where it sent to (ICMP). accept: asked for each
    packet, False loses it. sent: every packet that was sent, those that were lost too.
    """

    def __init__(self, seed: int = 0, conditions: Conditions | None = None, *, unreachable: bool = False) -> None:
        self.now = 1_000_000
        self.conditions = conditions or Conditions()
        self.paths: dict[tuple[Address, Address], Conditions] = {}
        self.unreachable = unreachable
        self.accept: Callable[[Packet], bool] | None = None
        self.sent: list[Packet] = []
        self._random = random.Random(seed)
        self._cores: list[tuple[Layer, list[Address]]] = []
        self._listeners: dict[Address, tuple[Layer, int]] = {}
        self._ports: dict[Address, Port] = {}
        self._due: list[tuple[int, int, Packet | Callable[[], object]]] = []
        self._order = 0

    def attach(self, core: Layer, listeners: "Sequence[Address | tuple[str, int, str]]",
               public: Address | None = None) -> None:
        """Join a core that has no listeners yet; they are added here, in this order: address, port, and transport where
        it is not UDP. What a stream would carry travels as datagrams too; no two may have one port. public: what they
        advertise."""
        self._cores.append((core, [(one[0], one[1]) for one in listeners]))
        for host, port, *transport in listeners:
            shown = public or (host, port)
            self._listeners[host, port] = core, core.add_listener(host, port, *shown, *transport)

    def open(self, host: str, port: int = 5060) -> Port:
        """A scripted port at this address."""
        self._ports[host, port] = Port(self, (host, port))
        return self._ports[host, port]

    def close(self, port: Port) -> None:
        """Nobody listens there any more."""
        del self._ports[port.address]

    def send(self, source: Address, to: Address, data: bytes) -> None:
        """Put one datagram on its way."""
        packet = Packet(self.now, source, to, data)
        self.sent.append(packet)
        path = self.paths.get((source, to), self.conditions)
        if (self.accept is not None and not self.accept(packet)) or self._random.random() < path.loss:
            return
        for _ in range(2 if self._random.random() < path.duplicate else 1):
            self._push(self.now + path.delay + self._random.randint(0, path.jitter), packet)

    def call_at(self, at: int, action: Callable[[], object]) -> None:
        """Do something at `at` ms of the link's clock."""
        self._push(max(at, self.now), action)

    def run(self, ms: int = 0) -> None:
        """Let ms pass: deliver what arrives and do what is due until then. RuntimeError after STORM steps of one
        instant: packets or timers go in a circle."""
        end = self.now + ms
        self._flush()
        steps = 0
        while (at := self._next()) is not None and at <= end:
            if at > self.now:
                self.now, steps = at, 0
            steps += 1
            if steps > STORM:
                raise RuntimeError(f"{STORM} steps at {self.now} ms without time passing")
            self._step()
        self.now = end

    def _push(self, at: int, item: Packet | Callable[[], object]) -> None:
        self._order += 1
        heapq.heappush(self._due, (at, self._order, item))

    def _next(self) -> int | None:
        deadlines = [at for core, _ in self._cores if (at := core.deadline()) is not None]
        if self._due:
            deadlines.append(self._due[0][0])
        return min(deadlines, default=None)

    def _step(self) -> None:
        """One packet, or one action, or the cores' timers."""
        if self._due and self._due[0][0] <= self.now:
            item = heapq.heappop(self._due)[2]
            if isinstance(item, Packet):
                self._deliver(item)
            else:
                item()
        else:
            for core, _ in self._cores:
                core.advance(self.now)
        self._flush()

    def _deliver(self, packet: Packet) -> None:
        if packet.to in self._listeners:
            core, listener = self._listeners[packet.to]
            core.feed(packet.data, packet.source, self.now, listener)
        elif (port := self._ports.get(packet.to)) is not None:
            if port.on_packet is not None:
                port.on_packet(packet)
            else:
                port.inbox.append(packet)
        elif self.unreachable and packet.source in self._listeners:
            self._listeners[packet.source][0].unreachable(packet.data, self.now)

    def _flush(self) -> None:
        for core, listeners in self._cores:
            for listener, host, port, data in core.drain():
                self.send(listeners[listener], (host, port), data)
