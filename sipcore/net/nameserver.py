"""Questions to real name servers, over aiodns (c-ares): retries, TCP after a truncated answer, servers that are down.

What comes back is a stranger's. Only records of the type and class that were asked for count, and only those of the
name that was asked for or that a bounded chain of CNAMEs in the same answer leads to.
"""
import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import aiodns
import pycares

from sipcore.net.locate import AAAA, MOST_RECORDS, NAPTR, SRV, A, Answer, Naptr, Question, Record, Srv

MOST_ALIASES = 8
"""CNAMEs followed in one answer."""
TRIES = 3
QUESTIONS_OF_A_CHANNEL = 4_096
"""Then it is replaced: its cache, which has no bound, and its port, which could be guessed, go with it."""

_TYPES = {A: "A", AAAA: "AAAA", SRV: "SRV", NAPTR: "NAPTR"}
_CLASS_IN = 1
_NOTHING = {pycares.errno.ARES_ENOTFOUND, pycares.errno.ARES_ENODATA}
_FAULTS = {
    pycares.errno.ARES_ETIMEOUT: "no answer", pycares.errno.ARES_ESERVFAIL: "the name server failed",
    pycares.errno.ARES_EREFUSED: "the name server refuses", pycares.errno.ARES_ECONNREFUSED: "no name server there",
    pycares.errno.ARES_EBADRESP: "the answer makes no sense",
}


class NameServers:
    """servers: addresses with ports or without; none: those of the system. seconds: for one try."""

    def __init__(self, loop: asyncio.AbstractEventLoop, servers: Sequence[str] = (), seconds: float = 1.0) -> None:
        self.loop = loop
        self.servers = tuple(servers)
        self.seconds = seconds
        self._left = 0
        self._channel: aiodns.DNSResolver | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def ask(self, question: Question, answered: Callable[[Answer], None]) -> None:
        """answered is called once, never inside this call."""
        if self._channel is None or self._left == 0:
            self._renew()
        assert self._channel is not None
        self._left -= 1
        future = self._channel.query_dns(question.name, _TYPES[question.type])
        future.add_done_callback(partial(_on_done, question, answered))

    def close(self) -> None:
        """Ask nothing more; what is under way is answered with a fault."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.cancel()
            self._part(channel)

    def _renew(self) -> None:
        """A fresh channel; the old one stays until its last question is answered."""
        old, self._left = self._channel, QUESTIONS_OF_A_CHANNEL
        self._channel = aiodns.DNSResolver(self.servers or None, self.loop, timeout=self.seconds, tries=TRIES)
        if old is not None:
            self.loop.call_later(TRIES * 8 * self.seconds, self._part, old)

    def _part(self, channel: aiodns.DNSResolver) -> None:
        task = self.loop.create_task(channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _on_done(question: Question, answered: Callable[[Answer], None],
             future: "asyncio.Future[pycares.DNSResult]") -> None:
    if future.cancelled():
        answered(Answer(fault="the edge stops"))
        return
    error = future.exception()
    if error is None:
        answered(read(question, future.result()))
        return
    number = error.args[0] if error.args else None
    answered(Answer() if number in _NOTHING else Answer(fault=_FAULTS.get(number, "the question failed")))


def read(question: Question, result: pycares.DNSResult) -> Answer:
    """What an answer says about the question."""
    name, aliases, ttl = question.name, 0, 1 << 31
    records: Sequence[Record] = ()
    by_name: dict[str, list[pycares.DNSRecord]] = {}
    for one in result.answer:
        if one.record_class == _CLASS_IN:
            by_name.setdefault(one.name.lower().removesuffix("."), []).append(one)
    while True:
        here = by_name.get(name, [])
        found = [one for one in here if one.type == question.type]
        if found:
            ttl = min(ttl, *(one.ttl for one in found))
            # Servers rotate them: in order first, so that the same ones of too many are taken each time.
            records = sorted(_record(one) for one in found)[:MOST_RECORDS]
            break
        alias = next(((one.data.cname, one.ttl) for one in here if isinstance(one.data, pycares.CNAMERecordData)), None)
        if alias is None or aliases == MOST_ALIASES:
            break
        aliases += 1
        name, ttl = alias[0].lower().removesuffix("."), min(ttl, alias[1])
    return Answer(tuple(records), ttl) if records else Answer()


def _record(one: pycares.DNSRecord) -> Record:
    match one.data:
        case pycares.SRVRecordData() as data:
            return Srv(data.priority, data.weight, data.port, data.target)
        case pycares.NAPTRRecordData() as data:
            return Naptr(data.order, data.preference, data.flags, data.service, data.regexp, data.replacement)
        case pycares.ARecordData() | pycares.AAAARecordData() as data:
            return str(data.addr)
    raise TypeError(f"no such record is asked for: {one!r}")
