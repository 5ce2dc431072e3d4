"""A worker: one Proxy on uvloop, told what to do by the supervisor over descriptor 3.

It loads what SIP needs and nothing else, computes in no thread, and says itself when garbage is looked for. What it
counts stands in a page that others can read; what happens to it, in the log.
"""
import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import uvloop

from proxy import app, streaming
from proxy.asking import Asked
from proxy.audio import Audio, Said
from proxy.config import Config, needs_services
from proxy.events import Command, Reply
from proxy.garbage import Garbage
from proxy.keeping import TICK_SECONDS, Keeping
from proxy.log import Log
from proxy.messages import (
    Attach,
    Capture,
    Configure,
    Configured,
    Message,
    Operate,
    Start,
    Stop,
    Trace,
    read_memory_file,
    receive,
    send,
)
from proxy.naming import Failures, LookUp, UpstreamNames, bounds_of, name_servers, reach_of, resolver_of
from proxy.operating import Operating
from proxy.page import Page
from proxy.policy.names import places
from proxy.references import References
from proxy.services_link import ServicesLink
from sipcore.net.endpoint import Endpoint, monotonic_ms, wall_offset_ms
from sipcore.stack.flows import Flows
from sipcore.wire.keys import hide_keys

Result = TypeVar("Result")

CONTROL = 3
GAUGE_SECONDS = 1.0
MTU_SECONDS = 60.0
WRONG_SOURCE_MS = 10_000
WRONG_SOURCE_LINES = 5
JOURNAL_MS = 1000
"""How long the end of a worker waits for a slow reader of the call log."""
SERVICES_SECONDS = 1.0
"""How long it waits for the services process to have the last records on disk."""
STEP_SECONDS = 0.05
"""How often a stopping worker looks whether its transactions have finished."""


class Worker:
    """The state of one worker process."""

    def __init__(self, control: socket.socket, start: Start, descriptors: list[int]):
        configuration, page, *sockets = descriptors
        self.control = control
        self.epoch = start.epoch
        self.config = msgspec.msgpack.decode(read_memory_file(configuration), type=Config)
        self.log = Log(self.config.log.level, self.config.log.format, worker=start.worker)
        self.page = Page(page)
        self.decisions: Counter[str] = Counter()
        self.audio = Audio(self.config) if self.config.media else None
        if self.audio is not None and self.audio.trouble:
            self.log.warning("media ports", text=self.audio.trouble)
        self.services = ServicesLink(
            self._command, queue=self.config.services.queue, used=needs_services(self.config))
        self.asked = Asked(self.services, self._step)
        self.proxy = app.build_proxy(
            self.config, secret=start.secret, worker=start.worker, counters=self.decisions, audio=self.audio,
            services=self.asked,
            references=References(self.services.keep, lambda level, event, **fields: self.log.write(
                level, event, **fields)))
        self.calls = app.calls_of(self.proxy)
        self.calls.log = self.calls.watch.log = lambda level, event, **fields: self.log.write(level, event, **fields)
        self.proxy.use_counters(self.page.map)
        self.operating = Operating(self.proxy, self.calls, start.drained)
        self._set_wall()
        bound = [socket.socket(fileno=descriptor) for descriptor in sockets]
        self.streams = streaming.streams(self.config, self.proxy, bound, self._on_stream)
        self.endpoint = Endpoint(
            self.proxy, [sock if sock.type == socket.SOCK_DGRAM else None for sock in bound], streams=self.streams,
            journal=self.proxy.records.journal, journal_fd=sys.stdout.fileno(),
            message_limit=self.config.limits.message_size, on_trouble=self._on_trouble)
        self.tracing = start.trace
        self.keeping = Keeping(self.audio, self.proxy.records.call_id)
        self._watch_messages()
        self.wrong_told_at = 0
        self.wrong_told: dict[tuple[int, int], int] = {}
        self.renewed = 0
        self.ending = asyncio.Event()

    async def run(self) -> None:
        """Serve until told to stop."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self.control.fileno(), self._on_control)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # They are the supervisor's business; a terminal sends them to the whole process group.
            loop.add_signal_handler(number, lambda: None)
        self._start_names(loop)
        self.endpoint.start(loop)
        if self.audio is not None:
            loop.add_reader(self.audio.relay.fileno(), self._on_audio, self.audio)
        self.mtus = self._mtus()
        mtu_timer = loop.call_later(MTU_SECONDS, self._on_mtu)
        self.garbage = Garbage(loop.time())
        self._on_second()
        self._step(self.calls.watch.start)
        send(self.control, Configured(self.epoch))
        try:
            await self.ending.wait()
        finally:
            mtu_timer.cancel()
            self.names.stop()
            self.servers.close()
            self._step(self.calls.abandon)
            self._finish_calls()
            await self.services.finish(SERVICES_SECONDS)
            if self.audio is not None:
                loop.remove_reader(self.audio.relay.fileno())
            self.keeping.stop()
            if self.audio is not None:
                self.audio.stop()
            self.endpoint.stop()
            self.endpoint.finish_journal(JOURNAL_MS)
            self._write_page()

    def _start_names(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look names up. Calls do not wait for those of upstreams: what is not known yet is asked for then."""
        def log(level: str, event: str, **fields: object) -> None:
            self.log.write(level, event, **fields)

        self.servers = name_servers(self.config, loop)
        self.resolver = resolver_of(self.config, self.servers, loop)
        self.names = UpstreamNames(self.resolver, self._on_names, log, bounds_of(self.config).stale)
        self.failures = Failures(self.resolver, log)
        self.proxy.naming = LookUp(self.resolver, self._step)
        self.names.follow(places(self.config))

    def _follow_names(self, config: Config) -> None:
        """Another configuration; the cache stays where it asks the same servers."""
        if config.dns != self.config.dns:
            self.servers.close()
            self.servers = name_servers(config, asyncio.get_running_loop())
            self.resolver.configure(self.servers, reach_of(config), bounds_of(config))
            self.names.stale_ms = bounds_of(config).stale
        self.names.follow(places(config))

    def _on_names(self) -> None:
        """Targets have other addresses."""
        self._take_over("addresses")

    def _take_over(self, what: str) -> bool:
        """Decide by what is known of the targets now; whether that went well."""
        try:
            app.configure(self.proxy, self.config, self.decisions, self.audio, self.names.found)
            self.mtus = self._mtus()
        except Exception as failure:  # noqa: BLE001 whatever it is, the edge goes on with what it has
            self.log.error(f"{what} not taken over", error=f"{type(failure).__name__}: {failure}")
            return False
        return True

    def _finish_calls(self) -> None:
        """Log the calls that are still up, as fast as the reader of the lines takes them."""
        journal = self.proxy.records.journal
        while not self.proxy.finish(monotonic_ms()):
            waiting = journal.waiting
            self.endpoint.finish_journal(JOURNAL_MS)
            if journal.waiting == waiting:
                self.log.warning("call lines lost: nobody reads them", calls=self.proxy.records.up)
                return

    def _on_control(self) -> None:
        try:
            message, descriptors = receive(self.control)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, msgspec.DecodeError) as error:
            self.log.error("control message unreadable", error=str(error))
            message, descriptors = None, []
        if message is None:
            # The supervisor is gone: without it nobody would ever stop this worker.
            self.ending.set()
            return
        self._obey(message, descriptors)

    def _obey(self, message: Message, descriptors: list[int]) -> None:
        if isinstance(message, Configure):
            self._configure(message.epoch, descriptors[0])
        elif isinstance(message, Trace):
            self.tracing = message.on
            self._watch_messages()
        elif isinstance(message, Capture):
            self._capture(message, *descriptors)
        elif isinstance(message, Operate):
            self._operate(message, *descriptors)
        elif isinstance(message, Attach):
            self.services.attach(socket.socket(fileno=descriptors[0]))
            self.asked.used = True
        elif isinstance(message, Stop):
            self.proxy.drain_calls()
            self._step(self.calls.finish)
            self.log.info("stopping", unfinished=self.proxy.busy, timeout=message.timeout)
            self.stopper = asyncio.get_running_loop().create_task(self._finish(message.timeout))

    def _command(self, command: Command) -> Reply:
        """What the services process asks for."""
        return self._step(lambda: self.calls.obey(command))

    def _step(self, action: Callable[[], Result]) -> Result:
        """Do something to calls from outside of packets and timers, and send what they say."""
        self.proxy.advance(monotonic_ms())
        result = action()
        self.endpoint.wake()
        return result

    def _configure(self, epoch: int, descriptor: int) -> None:
        """All or nothing: the old configuration stays where anything of the new one fails."""
        error = ""
        try:
            config = msgspec.msgpack.decode(read_memory_file(descriptor), type=Config)
            app.configure(self.proxy, config, self.decisions, self.audio, self.names.found, self.streams)
        except Exception as failure:  # noqa: BLE001 whatever it is, the edge goes on with what it has and says so
            error = f"{type(failure).__name__}: {failure}"
        else:
            self._follow_names(config)
            self.config, self.epoch = config, epoch
            self.log = self.log.changed(config.log.level, config.log.format)
            self.mtus = self._mtus()
            # Deadlines may be earlier ones now.
            self.endpoint.wake()
        send(self.control, Configured(epoch, error))

    async def _finish(self, seconds: float) -> None:
        """Wait for running transactions, for so many seconds at most."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.proxy.busy and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 the stack is asked
            await asyncio.sleep(STEP_SECONDS)
        self.log.info("stopped", unfinished=self.proxy.busy)
        self.ending.set()

    def _on_audio(self, audio: Audio) -> None:
        # A key or the end of a whisper may move a call on.
        self._step(lambda: self._take_audio(audio))

    def _take_audio(self, audio: Audio) -> None:
        for said in audio.take_events():
            call_id = self.proxy.records.call_id(said.record, said.generation)
            if call_id is not None:
                self.log.write(said.level, said.event, call_id=call_id, **said.fields)
                if said.folder:
                    self._record(said, call_id)
                if said.over:
                    self.proxy.end_silent(said.record, said.generation, monotonic_ms())

    def _on_second(self) -> None:
        flows = self.proxy.flows
        if flows is not None:
            self._step(lambda: self._keep_alive(flows))
        if self.calls.registrations.all:
            self._step(lambda: self.calls.registrations.advance(self.proxy.time))
        self._write_page()
        self.operating.log = self.log
        self.operating.look()
        for text in self.proxy.take_troubles():
            self.log.warning("policy", text=text)
        self.failures.look()
        loop = asyncio.get_running_loop()
        self.garbage.look(loop.time(), self.proxy.records.up)
        loop.call_later(GAUGE_SECONDS, self._on_second)

    def _keep_alive(self, flows: Flows) -> None:
        for one in flows.due(self.proxy.time):
            self.proxy.keep_alive(*one)

    def _set_wall(self) -> None:
        # The two clocks are read one after the other: a millisecond more or less is no step of the time of day.
        wall = wall_offset_ms()
        if abs(wall - self.calls.wall) > 1:
            self.proxy.records.wall = self.calls.wall = self.calls.watch.wall = wall

    def _write_page(self) -> None:
        self._set_wall()
        self.renewed += 1
        found = self.endpoint.statistics()
        if self.audio is not None:
            found |= self.audio.statistics()
            self._tell_wrong_sources(self.audio)
        found |= self.calls.statistics() | self.services.statistics() | self.resolver.statistics()
        found["gauges_renewed"] = self.renewed
        found["log_lost"] = self.log.lost
        found["kept_alive"] = len(self.proxy.flows) if self.proxy.flows is not None else 0
        found |= {name.replace(".", "_"): count for name, count in self.decisions.items()}
        self.page.write(found)

    def _tell_wrong_sources(self, audio: Audio) -> None:
        """Packets from sources that a call did not agree on; told once in a while and of a few calls, as whoever sends
        them must not fill the log."""
        now = monotonic_ms()
        if now - self.wrong_told_at < WRONG_SOURCE_MS:
            return
        dropped = dict(audio.wrong_sources())
        more = [key for key, said in dropped.items() if said.fields["packets"] > self.wrong_told.get(key, 0)]
        for key in more[:WRONG_SOURCE_LINES]:
            said = dropped[key]
            self.log.write(said.level, said.event, **said.fields,
                           call_id=self.proxy.records.call_id(said.record, said.generation))
        if more:
            self.wrong_told_at = now
            self.wrong_told = {key: said.fields["packets"] for key, said in dropped.items()}
        if len(more) > WRONG_SOURCE_LINES:
            self.log.warning("audio from wrong sources dropped", more_calls=len(more) - WRONG_SOURCE_LINES)

    # --- what is kept of calls

    def _record(self, said: Said, call_id: str) -> None:
        def done(error: str, figures: dict[str, object]) -> None:
            if error:
                self.log.error("recording ended", call_id=call_id, error=error, **figures)
            else:
                self.log.info("recorded", call_id=call_id, **figures)

        was = self.keeping.busy
        try:
            self.keeping.record(said.record, said.generation, call_id, Path(said.folder), done)
        except ValueError as error:
            self.log.warning("not recorded", call_id=call_id, error=str(error))
        if not was and self.keeping.busy:
            self._on_tick()

    def _operate(self, asked: Operate, asker: int) -> None:
        with socket.socket(fileno=asker) as sock:
            sock.setblocking(False)
            answer = self._step(lambda: self.operating.obey(asked))
            with contextlib.suppress(OSError):
                sock.send(msgspec.json.encode(answer) + b"\n")

    def _capture(self, wanted: Capture, file: int, asker: int) -> None:
        """Until the call ends, the time is over, or whoever asked is gone."""
        sock = socket.socket(fileno=asker)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()

        def done(error: str, figures: dict[str, object]) -> None:
            loop.remove_reader(sock.fileno())
            with contextlib.suppress(OSError):
                sock.send(msgspec.json.encode({"error": error} | figures) + b"\n")
            sock.close()
            self._watch_messages()

        call = self.calls.traced(wanted.call_id)
        place = call.place if call is not None else None
        found = [place] if place is not None else self.proxy.records.find(wanted.call_id)
        was = self.keeping.busy
        try:
            if not found:
                raise ValueError(f"no call in progress has the Call-ID {wanted.call_id}")
            if wanted.sound:
                end = self.keeping.record_to(*found[0], file, wanted.seconds, done, call)
            else:
                end = self.keeping.capture(*found[0], wanted.call_id, file, wanted.seconds, done, call,
                                           decrypted=wanted.decrypted)
        except (OSError, ValueError) as error:
            with contextlib.suppress(OSError):
                os.close(file)
            done(str(error), {})
            return
        loop.add_reader(sock.fileno(), end)
        self.log.info("recording" if wanted.sound else "capturing", call_id=wanted.call_id)
        self._watch_messages()
        if not was:
            self._on_tick()

    def _on_tick(self) -> None:
        if self.audio is not None:
            # A recording that is to begin comes before the packets that were copied for it.
            self._on_audio(self.audio)
        self.keeping.tick()
        if self.keeping.busy:
            asyncio.get_running_loop().call_later(TICK_SECONDS, self._on_tick)

    def _mtus(self) -> list[int]:
        return [upstream.mtu for upstream in app.with_path_mtu(self.config, self.names.found).upstreams]

    def _on_mtu(self) -> None:
        """The kernel may have learned of a narrower way, or have forgotten one."""
        asyncio.get_running_loop().call_later(MTU_SECONDS, self._on_mtu)
        if self._mtus() != self.mtus and self._take_over("path MTU"):
            self.log.info("path MTU changed", upstreams={
                upstream.name: mtu for upstream, mtu in zip(self.config.upstreams, self.mtus, strict=True)})

    def _on_stream(self, level: str, event: str, fields: dict[str, object]) -> None:
        listener = fields.pop("listener", None)
        if isinstance(listener, int):
            fields["listener"] = self.config.listeners[listener].name
        self.log.write(level, event, **fields)

    def _on_trouble(self, text: str) -> None:
        self.log.error("network", text=text)

    def _watch_messages(self) -> None:
        """Have messages shown, where anybody wants to see them."""
        wanted = self.tracing or self.keeping.captures
        self.endpoint.set_trace(self._on_message if wanted else None)

    def _on_message(self, direction: str, listener: int, host: str, port: int, data: bytes) -> None:
        if self.tracing:
            self.log.info("message", direction=direction, listener=self.config.listeners[listener].name,
                          peer=f"{host}:{port}", text=hide_keys(data).decode("utf-8", "backslashreplace"))
        bound_host, bound_port, public_host, *_ = app.listeners(self.config)[listener]
        # A wildcard is no address that a packet had.
        local = (public_host if bound_host in ("0.0.0.0", "::") else bound_host), bound_port
        self.keeping.message(*(((host, port), local) if direction == "in" else (local, (host, port))), data)


def main() -> None:
    """Run as `python -m proxy.worker`, started by the supervisor with a control socket on descriptor 3."""
    control = socket.socket(fileno=CONTROL)
    control.setblocking(True)
    start, descriptors = receive(control)
    if not isinstance(start, Start):
        sys.exit("a worker is started by `sipedge run`")
    control.setblocking(False)

    async def serve() -> None:
        await Worker(control, start, descriptors).run()

    uvloop.run(serve())
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
