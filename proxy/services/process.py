"""The services process: everything that may take its time, on a loop and a core of its own.

It is told what to do by the supervisor as a worker is. It may be stopped, killed and started again at any moment: what
must not be lost is on disk before a worker forgets it.
"""
import asyncio
import gc
import itertools
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from proxy.config import Config
from proxy.log import Log
from proxy.messages import (
    Attach,
    Configure,
    Configured,
    Message,
    Operate,
    Reload,
    Reloaded,
    StartServices,
    Stop,
    UseEntries,
    memory_file,
    read_memory_file,
    receive,
    send,
)
from proxy.page import Page
from proxy.policy.entries import Entry

from .api.app import build
from .api.server import Server
from .services import Services
from .workers import Unanswered

RELOAD_SECONDS = 10.0
ANSWER_PART = 65_536
GARBAGE = (20_000, 20, 50)
"""Thresholds of the garbage collector: the usual ones have it look at young objects during every other request."""
SWITCH_SECONDS = 0.0005
"""After this time a thread (the database's, the spool's) lets the loop go on."""
PAGE_SECONDS = 1.0
DRAIN_SECONDS = 1.0
"""How long the end waits for the workers' ends of the links to close: they are told to stop first."""


class Process:
    """The state of the services process."""

    def __init__(self, control: socket.socket, start: StartServices, descriptors: list[int]):
        configuration, page, *sockets = descriptors
        self.page = Page(page)
        self.control = control
        self.epoch = start.epoch
        self.start = start
        self.config = msgspec.msgpack.decode(read_memory_file(configuration), type=Config)
        self.api_socket = socket.socket(fileno=sockets[0]) if sockets else None
        self.log = Log(self.config.services.log, self.config.log.format, process="services")
        self.ending = asyncio.Event()
        self.reloading: dict[int, asyncio.Future[Reloaded]] = {}
        self.numbers = itertools.count(1)

    async def run(self) -> None:
        """Serve until told to stop, or until the supervisor is gone."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # They are the supervisor's business; a terminal sends them to the whole process group.
            loop.add_signal_handler(number, lambda: None)
        self.services = Services(
            self.config, Path(self.start.folder), self.start.name, self.log, self._reload, self._use_entries,
            self._operate)
        loop.add_reader(self.control.fileno(), self._on_control)
        tasks = [loop.create_task(self.services.run())]
        server = None
        if self.api_socket is not None:
            server = Server(build(self.services), self.api_socket)
            serving = loop.create_task(server.run())
            tasks.append(serving)
        _settle()
        self._on_second()
        send(self.control, Configured(self.epoch))
        ending = loop.create_task(self.ending.wait())
        await asyncio.wait({ending, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done() and (error := task.exception()):
                # The supervisor starts another one; what is on disk is found there again.
                raise error
        loop.remove_reader(self.control.fileno())
        if server is not None:
            await server.stop(serving)
        await self.services.workers.drained(DRAIN_SECONDS)
        tasks[0].cancel()
        await asyncio.wait([tasks[0]])
        await self.services.finish()
        self.page.write(self.services.statistics())

    def _on_second(self) -> None:
        self.page.write(self.services.statistics())
        asyncio.get_running_loop().call_later(PAGE_SECONDS, self._on_second)

    def _on_control(self) -> None:
        try:
            message, descriptors = receive(self.control)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, msgspec.DecodeError):
            message, descriptors = None, []
        if message is None:
            self.ending.set()
        else:
            self._obey(message, descriptors)

    def _obey(self, message: Message, descriptors: list[int]) -> None:
        if isinstance(message, Attach):
            self.services.workers.attach(message.worker, socket.socket(fileno=descriptors[0]))
        elif isinstance(message, Configure):
            self._configure(message.epoch, descriptors[0])
        elif isinstance(message, Reloaded):
            waiting = self.reloading.get(message.ask)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        elif isinstance(message, Stop):
            self.ending.set()

    def _configure(self, epoch: int, descriptor: int) -> None:
        """All or nothing, as in a worker."""
        config = msgspec.msgpack.decode(read_memory_file(descriptor), type=Config)
        try:
            self.services.configure(config)
        except ValueError as error:
            send(self.control, Configured(epoch, str(error)))
            return
        self.config, self.epoch = config, epoch
        self.log.change(config.services.log, config.log.format)
        send(self.control, Configured(epoch))

    async def _reload(self) -> tuple[int, str]:
        reloaded = await self._ask(Reload)
        return reloaded.epoch, reloaded.error

    async def _use_entries(self, entries: list[Entry]) -> None:
        await self._ask(UseEntries, msgspec.msgpack.encode(entries))

    async def _operate(self, asked: Operate) -> list[dict[str, Any]]:
        """What each worker says to it, as proxy.operate has it. Raises Unanswered."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                try:
                    send(self.control, asked, [theirs.fileno()])
                except OSError:
                    raise Unanswered("the supervisor did not answer") from None
            ours.setblocking(False)
            text = b""
            seconds = self.config.services.reply_timeout
            try:
                async with asyncio.timeout(seconds):
                    while part := await asyncio.get_running_loop().sock_recv(ours, ANSWER_PART):
                        text += part
            except TimeoutError:
                raise Unanswered(f"a worker did not reply within {seconds:g} s") from None
        answers = [msgspec.json.decode(line) for line in text.splitlines()]
        if not answers:
            raise Unanswered("no worker is there")
        return answers

    async def _ask(self, question: type[Reload | UseEntries], data: bytes | None = None) -> Reloaded:
        """Ask the supervisor; data goes along in a memory file. Raises Unanswered."""
        number = next(self.numbers)
        files = [] if data is None else [memory_file("sipedge-entries", data)]
        answer: asyncio.Future[Reloaded] = asyncio.get_running_loop().create_future()
        self.reloading[number] = answer
        try:
            send(self.control, question(number), files)
            return await asyncio.wait_for(answer, RELOAD_SECONDS)
        except (OSError, TimeoutError):
            raise Unanswered("the supervisor did not answer") from None
        finally:
            del self.reloading[number]
            for file in files:
                os.close(file)


def _settle() -> None:
    """What was loaded is not looked through for garbage any more, and no request waits long for what a thread does."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    sys.setswitchinterval(SWITCH_SECONDS)


def main() -> None:
    """Run until the supervisor says so."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.setblocking(True)
    start, descriptors = receive(control)
    if not isinstance(start, StartServices):
        sys.exit("the services process is started by `sipedge run`")
    control.setblocking(False)

    process = Process(control, start, descriptors)
    status = 0
    try:
        uvloop.run(process.run())
    except Exception as error:  # noqa: BLE001 one line says why; the supervisor starts the next one
        process.log.error("services process ends", error=f"{type(error).__name__}: {error}")
        status = 1
    # What a thread still does must not hold up the end.
    os._exit(status)
