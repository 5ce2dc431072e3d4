"""A worker: one Proxy on uvloop, told what to do by the supervisor over descriptor 3.

It loads what SIP needs and nothing else, computes in no thread, and freezes the garbage collector's view of what
was loaded. What it counts stands in a page that others can read; what happens to it, in the log.
"""
import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections import Counter
from pathlib import Path

import msgspec
import uvloop

from proxy import app
from proxy.audio import Audio, Said
from proxy.config import Config
from proxy.keeping import TICK_SECONDS, Keeping
from proxy.log import Log
from proxy.messages import Capture, Configure, Configured, Message, Start, Stop, Trace, read_memory_file, receive, send
from proxy.page import Page
from sipcore.net.endpoint import Endpoint, monotonic_ms, wall_offset_ms

CONTROL = 3
GAUGE_SECONDS = 1.0
MTU_SECONDS = 60.0
WRONG_SOURCE_MS = 10_000
WRONG_SOURCE_LINES = 5
JOURNAL_MS = 1000
"""How long the end of a worker waits for a slow reader of the call log."""
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
        self.proxy = app.build_proxy(
            self.config, secret=start.secret, worker=start.worker, counters=self.decisions, audio=self.audio)
        self.proxy.use_counters(self.page.map)
        self.proxy.records.wall = wall_offset_ms()
        self.endpoint = Endpoint(
            self.proxy, [socket.socket(fileno=descriptor) for descriptor in sockets],
            journal=self.proxy.records.journal, journal_fd=sys.stdout.fileno(),
            message_limit=self.config.limits.message_size, on_trouble=self._on_trouble)
        self.tracing = start.trace
        self.keeping = Keeping(self.audio, self.proxy.records.call_id)
        self._watch_messages()
        self.mtus = self._mtus()
        self.wrong_told_at = 0
        self.wrong_told: dict[tuple[int, int], int] = {}
        self.ending = asyncio.Event()

    async def run(self) -> None:
        """Serve until told to stop."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self.control.fileno(), self._on_control)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # They are the supervisor's business; a terminal sends them to the whole process group.
            loop.add_signal_handler(number, lambda: None)
        self.endpoint.start(loop)
        if self.audio is not None:
            loop.add_reader(self.audio.relay.fileno(), self._on_audio, self.audio)
        self._on_second()
        mtu_timer = loop.call_later(MTU_SECONDS, self._on_mtu)
        gc.collect()
        gc.freeze()
        send(self.control, Configured(self.epoch))
        try:
            await self.ending.wait()
        finally:
            mtu_timer.cancel()
            self._finish_calls()
            if self.audio is not None:
                loop.remove_reader(self.audio.relay.fileno())
            self.keeping.stop()
            if self.audio is not None:
                self.audio.stop()
            self.endpoint.stop()
            self.endpoint.finish_journal(JOURNAL_MS)
            self._write_page()

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
        elif isinstance(message, Stop):
            self.proxy.drain_calls()
            self.log.info("stopping", unfinished=self.proxy.busy, timeout=message.timeout)
            self.stopper = asyncio.get_running_loop().create_task(self._finish(message.timeout))

    def _configure(self, epoch: int, descriptor: int) -> None:
        """All or nothing: the old configuration stays where anything of the new one fails."""
        error = ""
        try:
            config = msgspec.msgpack.decode(read_memory_file(descriptor), type=Config)
            app.configure(self.proxy, config, self.decisions, self.audio)
        except Exception as failure:  # noqa: BLE001 whatever it is, the edge goes on with what it has and says so
            error = f"{type(failure).__name__}: {failure}"
        else:
            self.config, self.epoch = config, epoch
            self.log = self.log.changed(config.log.level, config.log.format)
            self.mtus = self._mtus()
        send(self.control, Configured(epoch, error))

    async def _finish(self, seconds: float) -> None:
        """Wait for running transactions, for so many seconds at most."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.proxy.busy and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 the stack is asked
            await asyncio.sleep(STEP_SECONDS)
        self.log.info("stopped", unfinished=self.proxy.busy)
        self.ending.set()

    def _on_audio(self, audio: Audio) -> None:
        for said in audio.take_events():
            call_id = self.proxy.records.call_id(said.record, said.generation)
            if call_id is not None:
                self.log.write(said.level, said.event, call_id=call_id, **said.fields)
                if said.folder:
                    self._record(said, call_id)
                if said.over:
                    self.proxy.end_silent(said.record, said.generation, monotonic_ms())

    def _on_second(self) -> None:
        self._write_page()
        for text in self.proxy.take_troubles():
            self.log.warning("policy", text=text)
        asyncio.get_running_loop().call_later(GAUGE_SECONDS, self._on_second)

    def _write_page(self) -> None:
        self.proxy.records.wall = wall_offset_ms()
        found = self.endpoint.statistics()
        if self.audio is not None:
            found |= self.audio.statistics()
            self._tell_wrong_sources(self.audio)
        found["log_lost"] = self.log.lost
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

        found = self.proxy.records.find(wanted.call_id)
        was = self.keeping.busy
        try:
            if not found:
                raise ValueError(f"no call in progress has the Call-ID {wanted.call_id}")
            end = self.keeping.capture(*found[0], wanted.call_id, file, wanted.seconds, done)
        except (OSError, ValueError) as error:
            with contextlib.suppress(OSError):
                os.close(file)
            done(str(error), {})
            return
        loop.add_reader(sock.fileno(), end)
        self.log.info("capturing", call_id=wanted.call_id)
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
        return [upstream.mtu for upstream in app.with_path_mtu(self.config).upstreams]

    def _on_mtu(self) -> None:
        """The kernel may have learned of a narrower way, or have forgotten one."""
        mtus = self._mtus()
        if mtus != self.mtus:
            self.mtus = mtus
            app.configure(self.proxy, self.config, self.decisions, self.audio)
            self.log.info("path MTU changed", upstreams={
                upstream.name: mtu for upstream, mtu in zip(self.config.upstreams, mtus, strict=True)})
        asyncio.get_running_loop().call_later(MTU_SECONDS, self._on_mtu)

    def _on_trouble(self, text: str) -> None:
        self.log.error("network", text=text)

    def _watch_messages(self) -> None:
        """Have messages shown, where anybody wants to see them."""
        wanted = self.tracing or self.keeping.captures
        self.endpoint.set_trace(self._on_message if wanted else None)

    def _on_message(self, direction: str, listener: int, host: str, port: int, data: bytes) -> None:
        if self.tracing:
            self.log.info("message", direction=direction, listener=self.config.listeners[listener].name,
                          peer=f"{host}:{port}", text=data.decode("utf-8", "backslashreplace"))
        bound_host, bound_port, public_host, _ = app.listeners(self.config)[listener]
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
