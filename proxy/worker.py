"""A worker: one Proxy on uvloop, told what to do by the supervisor over descriptor 3.

It loads what SIP needs and nothing else, computes in no thread, and freezes the garbage collector's view of what
was loaded. What it counts stands in a page that others can read; what happens to it, in the log.
"""
import asyncio
import gc
import os
import signal
import socket
import sys
from collections import Counter

import msgspec
import uvloop

from proxy import app
from proxy.audio import Audio
from proxy.config import Config
from proxy.log import Log
from proxy.messages import Configure, Configured, Message, Start, Stop, Trace, read_memory_file, receive, send
from proxy.page import Page
from sipcore.net.endpoint import Endpoint, monotonic_ms, wall_offset_ms

CONTROL = 3
GAUGE_SECONDS = 1.0
MTU_SECONDS = 60.0
WRONG_SOURCE_MS = 10_000
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
        if start.trace:
            self.endpoint.set_trace(self._trace)
        self.mtus = self._mtus()
        self.wrong_sources = self.wrong_told = 0
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
            self.endpoint.set_trace(self._trace if message.on else None)
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
                if said.over and audio.ends:
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
            self._tell_wrong_sources(found["rtp_wrong_source"])
        found["log_lost"] = self.log.lost
        found |= {name.replace(".", "_"): count for name, count in self.decisions.items()}
        self.page.write(found)

    def _tell_wrong_sources(self, count: int) -> None:
        """Packets from sources that no call agreed on; told once in a while, as whoever sends them must not fill the
        log."""
        now = monotonic_ms()
        if count > self.wrong_sources and now - self.wrong_told >= WRONG_SOURCE_MS:
            self.log.warning("audio from wrong sources dropped", packets=count - self.wrong_sources)
            self.wrong_sources, self.wrong_told = count, now

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

    def _trace(self, direction: str, listener: int, host: str, port: int, data: bytes) -> None:
        self.log.info("message", direction=direction, listener=self.config.listeners[listener].name,
                      peer=f"{host}:{port}", text=data.decode("utf-8", "backslashreplace"))


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
