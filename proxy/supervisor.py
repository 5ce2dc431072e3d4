"""The supervisor: binds and holds the SIP sockets, starts workers and starts them again, and speaks no SIP itself.

Because the sockets are its own, a worker that dies loses no packet that had not been read yet, and because the
secret is its own, the next worker recognises the tokens of the calls in progress.
"""
import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from proxy import fixed, load, machine, streaming
from proxy.config import Config, ConfigError, needs_services, token_key
from proxy.control import control_path, taken
from proxy.control_socket import ControlSocket
from proxy.entries import Entries
from proxy.log import Log
from proxy.messages import (
    AskStatistics,
    Attach,
    Capture,
    Configure,
    Configured,
    Done,
    Message,
    Operate,
    Reload,
    Reloaded,
    Start,
    Statistics,
    Stop,
    Trace,
    UseEntries,
    memory_file,
    receive,
    send,
)
from proxy.page import Page
from proxy.policy.entries import Entry
from proxy.services_child import ServicesChild, bind_api

GRACE = 5.0
"""Seconds that a worker gets beyond its stop timeout before it is killed."""
SHORT_LIFE = 1.0
"""Seconds; a worker that lives no longer is started again after a pause, which doubles each time."""
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
MOST_DRAINED = 1024
WORKER = "proxy.worker"
"""The module whose main() is a worker."""


class Child:
    """A worker process as the supervisor sees it."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, control: socket.socket, born: float):
        self.number = number
        self.process = process
        self.control = control
        self.born = born


class Supervisor:
    """Runs a configuration until it is told to stop."""

    def __init__(self, config: Config, *, file: Path, listen: str = "", trace: bool = False):
        self.config = config
        """What the worker has taken: the next one is started with it."""
        self.offer: Config | None = None
        """What the worker was sent by a reload, and has not answered yet."""
        self.file = file
        self.listen = listen
        self.trace = trace or config.log.trace
        self.log = Log(config.log.level, config.log.format)
        self.secret = token_key(config.secrets, file.parent) or os.urandom(32)
        self.pages = [Page() for _ in range(config.process.workers)]
        self.services_page = Page()
        self.sockets: list[socket.socket] = []
        self.api: socket.socket | None = None
        self.services: ServicesChild | None = None
        self.children: dict[int, Child] = {}
        self.entries = Entries(self._follow_entries)
        self.drained: set[str] = set()
        self.restarts = 0
        self.short_lives = [0] * config.process.workers
        self.began = time.monotonic()
        self.stopping = False
        self.on_ready: Callable[[], None] | None = None
        self._ready = False
        self._asks: list[int] = []
        self._later: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def bind(self) -> None:
        """Bind every listener and the API. OSError says which one could not be bound, or that another edge has the
        control socket, and with it the database and the spool; nothing is left half-bound."""
        try:
            for index in range(len(self.config.listeners)):
                self.sockets.append(streaming.bind(self.config, index))
            if taken(path := control_path(self.config)):
                raise OSError(errno.EADDRINUSE, f"another edge at this address and port runs with {path}: give each "
                                                "one a process.directory of its own")
            self.api = bind_api(self.config)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()
        if self.api is not None:
            self.api.close()
            self.api = None

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; returns the exit status."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        for ending in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(ending, ended.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGHUP))
        try:
            control = ControlSocket(control_path(self.config), self._on_question, self.log)
        except OSError as error:
            self.log.warning("no control socket: `sipedge stats` will not work", error=str(error))
            control = None
        if short := machine.allow_files(self.config):
            self.log.warning("open files", text=short)
        self._warn()
        for number in range(self.config.process.workers):
            self._keep(self._start_worker(number))
        if needs_services(self.config):
            self._start_services()
        self.log.info("running", listeners=[listener.bind for listener in self.config.listeners],
                      workers=self.config.process.workers, configuration=str(self.file))
        await ended.wait()
        await self._stop()
        if control is not None:
            control.close()
        self.close()
        return 0

    def _warn(self) -> None:
        for text in machine.remarks(self.config):
            self.log.warning("media ports", text=text)
        for text in streaming.remarks(self.config):
            self.log.warning("certificate", text=text)

    def reload(self) -> None:
        """SIGHUP: read the file again; swap where it is good, keep what runs where it is not."""
        if self.offer is not None:
            self._later.append(self.reload)
        elif error := self._reload():
            self._refused("configuration kept", error)

    def _reload(self) -> str:
        """Offer the worker what the file says now; what is wrong with that."""
        try:
            config = load.load(self.file, listen=self.listen, epoch=self.config.epoch + 1, here=True)
        except ConfigError as error:
            return str(error)
        changed = fixed.changed(self.config, config, services=self.services is not None)
        if changed:
            return f"{', '.join(changed)} cannot change while the edge runs: restart it"
        if self.services is None:
            try:
                self.api = bind_api(config)
            except OSError as error:
                return str(error.strerror)
        self.offer = config
        for child in self.children.values():
            self._configure(child, config)
        return ""

    def _on_configured(self, worker: int, answer: Configured) -> None:
        """What the worker says to a configuration; others follow when it has taken it."""
        offered = self.offer is not None and answer.epoch == self.offer.epoch
        if answer.error:
            if offered:
                self.offer = None
                if self.services is None and self.api is not None:
                    self.api.close()
                    self.api = None
            self._refused("configuration kept by worker", answer.error, worker=worker)
        else:
            if offered:
                self._take_offer()
            self.log.info("worker ready", worker=worker, epoch=answer.epoch, pid=self.children[worker].process.pid)
        if offered:
            later, self._later = self._later, []
            for action in dict.fromkeys(later):
                action()

    def _refused(self, event: str, reason: str, **fields: int) -> None:
        self.log.error(event, reason=reason, **fields)
        self._answer(reason)

    def _answer(self, error: str = "") -> None:
        """Tell the services process what became of the reload that it has asked for."""
        for ask in self._asks:
            if self.services is not None:
                self.services.send(Reloaded(ask, self.config.epoch, error))
        self._asks.clear()

    def _take_offer(self) -> None:
        assert self.offer is not None
        retrace = self.offer.log.trace != self.config.log.trace
        self.config, self.offer = self.offer, None
        self.log = self.log.changed(self.config.log.level, self.config.log.format)
        self._warn()
        if self.services is not None:
            self.services.log = self.log
            self.services.configure(self.config)
        elif needs_services(self.config):
            self._start_services()
        if retrace:
            self._set_trace(self.config.log.trace)
        self._answer()

    def _on_reload(self, asked: Reload) -> None:
        """The services process asks for what SIGHUP does."""
        self._asks.append(asked.ask)
        self.reload()

    def _configure(self, child: Child, config: Config) -> None:
        self._send(child, Configure(config.epoch), [self._configuration(config)])

    def _on_entries(self, asked: UseEntries, entries: list[Entry]) -> None:
        if self.entries.use(entries):
            self._follow_entries()
        if self.services is not None:
            self.services.send(Reloaded(asked.ask, self.config.epoch))

    def _follow_entries(self) -> None:
        if self.offer is not None:
            self._later.append(self._follow_entries)
            return
        self.config = msgspec.structs.replace(self.config, epoch=self.config.epoch + 1)
        for child in self.children.values():
            self._configure(child, self.config)

    def _start_services(self) -> None:
        control = control_path(self.config)
        self.services = ServicesChild(
            folder=control.parent, name=control.stem.removeprefix("control-"), page=self.services_page,
            api=self.api, log=self.log, workers=self.config.process.workers, link=self._attach, reload=self._on_reload,
            entries=self._on_entries, operate=self._operate)
        self.services.start(self.config)

    def _attach(self, number: int, end: socket.socket) -> None:
        child = self.children.get(number)
        if child is not None and child.process.returncode is None:
            self._send(child, Attach(number), [os.dup(end.fileno())])

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _set_trace(self, on: bool) -> None:
        self.trace = on
        for child in self.children.values():
            self._send(child, Trace(on))

    def _configuration(self, config: Config) -> int:
        return memory_file("sipedge-configuration", msgspec.msgpack.encode(self.entries.merged(config, self.log)))

    def _send(self, child: Child, message: Message, descriptors: list[int] | None = None) -> None:
        try:
            send(child.control, message, descriptors)
        except OSError as error:
            self.log.error("worker unreachable", worker=child.number, error=str(error))
        finally:
            # Descriptors made for this message; what the supervisor keeps is never passed here.
            for descriptor in descriptors or []:
                os.close(descriptor)

    async def _start_worker(self, number: int) -> None:
        """Try until there is one: what is missing now (open files, memory) may be there again in a moment."""
        while not self.stopping:
            try:
                child = await self._spawn(number)
            except OSError as error:
                self.log.error("worker not started, trying again", worker=number, error=str(error))
                await self._pause(number)
            else:
                self._keep(self._watch(child))
                return

    async def _spawn(self, number: int) -> Child:
        configuration = self._configuration(self.config)
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setblocking(False)
            try:
                with theirs:
                    # The worker expects its end as descriptor 3: the shell-free way is a dup in the child.
                    process = await asyncio.create_subprocess_exec(
                        sys.executable, "-c", _BOOT.format(theirs.fileno(), WORKER), pass_fds=(theirs.fileno(),),
                        env=os.environ | {"PYTHONUNBUFFERED": "1"}, stdin=asyncio.subprocess.DEVNULL)
                # Read by the worker once it runs; without it, it ends at once.
                send(ours, Start(number, self.secret, self.config.epoch, self.trace, sorted(self.drained)),
                     [configuration, self.pages[number].descriptor, *(sock.fileno() for sock in self.sockets)])
            except BaseException:
                ours.close()
                raise
        finally:
            os.close(configuration)
        self.children[number] = child = Child(number, process, ours, time.monotonic())
        if self.offer is not None:
            self._configure(child, self.offer)
        asyncio.get_running_loop().add_reader(ours.fileno(), self._on_worker, child)
        if self.services is not None:
            self.services.attach(number)
        return child

    async def _pause(self, number: int) -> None:
        """Before the next attempt after a short life or none: twice as long each time."""
        seconds = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.short_lives[number], 6))
        self.short_lives[number] += 1
        await asyncio.sleep(seconds)

    def _on_worker(self, child: Child) -> None:
        try:
            message, _ = receive(child.control)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, msgspec.DecodeError):
            message = None
        if message is None:
            asyncio.get_running_loop().remove_reader(child.control.fileno())
        elif isinstance(message, Configured):
            self._on_configured(child.number, message)
            if not self._ready and self.on_ready is not None:
                self.on_ready()
            self._ready = True

    async def _watch(self, child: Child) -> None:
        """Start a worker again that ended without being told to."""
        status = await child.process.wait()
        with contextlib.suppress(ValueError, OSError):
            asyncio.get_running_loop().remove_reader(child.control.fileno())
        child.control.close()
        if self.stopping:
            return
        if self.offer is not None:
            self._on_configured(child.number, Configured(self.offer.epoch, "the worker died"))
        lived = time.monotonic() - child.born
        self.restarts += 1
        self.log.error("worker died, starting it again", worker=child.number, status=status, lived=round(lived, 3))
        if lived < SHORT_LIFE:
            await self._pause(child.number)
        else:
            self.short_lives[child.number] = 0
        await self._start_worker(child.number)

    async def _stop(self) -> None:
        self.stopping = True
        self.entries.stop()
        timeout = self.config.process.stop_timeout
        # Nothing is started any more, and one that is about to be ends.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        living = [child for child in self.children.values() if child.process.returncode is None]
        for child in living:
            self._send(child, Stop(timeout))
        waiting = [asyncio.ensure_future(child.process.wait()) for child in living]
        late = (await asyncio.wait(waiting, timeout=timeout + GRACE))[1] if waiting else set()
        if late:
            self.log.error("workers killed: they did not stop in time", count=len(late))
            for child in living:
                if child.process.returncode is None:
                    child.process.kill()
            await asyncio.wait(late)
        if self.services is not None:
            await self.services.stop()
        self.log.info("ended", uptime=round(time.monotonic() - self.began, 1))

    # --- what is asked over the control socket

    def _on_question(self, question: Message, descriptors: list[int]) -> Message:
        if isinstance(question, AskStatistics):
            return self.statistics()
        if isinstance(question, Operate):
            self._operate(question, descriptors)
        elif isinstance(question, Capture):
            self._ask_workers(question, descriptors)
        elif isinstance(question, Trace):
            self._set_trace(question.on)
        else:
            return Done("not a question for the supervisor")
        return Done()

    def _ask_workers(self, question: Capture | Operate, descriptors: list[int]) -> None:
        for child in self.children.values():
            self._send(child, question, [os.dup(descriptor) for descriptor in descriptors])

    def _operate(self, question: Operate, descriptors: list[int]) -> None:
        """What is drained stays so in workers that start later."""
        if question.what == "drain" and len(self.drained) < MOST_DRAINED:
            self.drained.add(question.address)
        elif question.what == "resume":
            self.drained.discard(question.address)
        if question.what in ("drain", "resume", "ban", "unban"):
            self.log.info("operator", what=question.what, address=question.address)
        self._ask_workers(question, descriptors)

    def statistics(self) -> Statistics:
        """The sums over the pages of all workers and of the services process."""
        sums: dict[str, int] = {}
        for page in (*self.pages, self.services_page):
            for name, value in page.read().items():
                sums[name] = sums.get(name, 0) + value
        return Statistics(sums, len(self.children), self.restarts, self.config.epoch,
                          round(time.monotonic() - self.began, 3))


_BOOT = ("import os, signal; [signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGHUP)]; "
         "os.dup2({}, 3); from {} import main; main()")
