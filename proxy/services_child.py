"""The services process as the supervisor sees it: started, linked to the workers, started again, stopped.

Nothing of what runs in it is imported here. It is never waited for: a services process that hangs or dies again and
again costs the calls what it was asked for and nothing else.
"""
import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from proxy.config import Config
from proxy.log import Log
from proxy.messages import (
    Attach,
    Configure,
    Configured,
    Message,
    Operate,
    Reload,
    StartServices,
    Stop,
    UseEntries,
    memory_file,
    read_memory_file,
    receive,
    send,
)
from proxy.page import Page
from proxy.policy.addresses import parse_address
from proxy.policy.entries import Entry

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
LONG_LIFE = 10.0
"""Seconds after which a services process that ends is started again with the first pause."""
STOP_SECONDS = 5.0
"""How long it has to write what it knows when the edge stops."""
GRACE = 5.0
"""Seconds beyond that before it is killed."""
BACKLOG = 128


def bind_api(config: Config) -> socket.socket | None:
    """The listening socket of the API; None where there is none. OSError where it cannot be had."""
    if not config.api.bind:
        return None
    address = parse_address(config.api.bind)
    sock = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address.host, address.port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"api.bind: cannot bind {config.api.bind}: {error.strerror}") from None
    return sock


class ServicesChild:
    """folder and name: of the files that it keeps. page: where it counts. link(worker, end): hands a worker
    its end of a new link. reload(asked): reads the configuration again, and says how it went. entries(asked, entries):
    puts these entries of the access list into effect, and says so. operate(asked, descriptors): does what an operator
    asks for; the descriptors stay the caller's."""

    def __init__(self, *, folder: Path, name: str, page: Page, api: socket.socket | None, log: Log, workers: int,
                 link: Callable[[int, socket.socket], None], reload: Callable[[Reload], None],
                 entries: Callable[[UseEntries, list[Entry]], None], operate: Callable[[Operate, list[int]], None]):
        self.folder = folder
        self.name = name
        self.restarts = 0
        self.log = log
        self._page = page
        self._api = api
        self._workers = workers
        self._link = link
        self._reload = reload
        self._entries = entries
        self._operate = operate
        self._process: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._config: Config | None = None
        self._watching: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self, config: Config) -> None:
        """Start it, and start it again whenever it ends, until stop."""
        self._config = config
        self._watching = asyncio.get_running_loop().create_task(self._run())

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    async def _start(self) -> asyncio.subprocess.Process:
        """OSError where it cannot be started now."""
        assert self._config is not None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        process = None
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "proxy.services", str(theirs.fileno()), pass_fds=(theirs.fileno(),),
                    env=os.environ | {"PYTHONUNBUFFERED": "1"}, stdin=asyncio.subprocess.DEVNULL)
            configuration = _memory(self._config)
            try:
                send(ours, StartServices(self._config.epoch, str(self.folder), self.name),
                     [configuration, self._page.descriptor, *([self._api.fileno()] if self._api is not None else [])])
            finally:
                os.close(configuration)
        except BaseException:
            ours.close()
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            raise
        self._control, self._process = ours, process
        for number in range(self._workers):
            self.attach(number)
        asyncio.get_running_loop().add_reader(ours.fileno(), self._on_message, ours)
        return process

    def attach(self, worker: int) -> None:
        """Make a new link between it and that worker: one of the two has just been started."""
        try:
            one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with one:
                if self.send(Attach(worker), [other.detach()]):
                    self._link(worker, one)
        except OSError as error:
            self.log.error("worker not linked, trying again", worker=worker, error=str(error))
            asyncio.get_running_loop().call_later(LONGEST_PAUSE, self.attach, worker)

    def configure(self, config: Config) -> None:
        self._config = config
        self.send(Configure(config.epoch), [_memory(config)])

    def send(self, message: Message, descriptors: list[int] | None = None) -> bool:
        """The descriptors are closed. False where it does not read or is not there."""
        try:
            if self._control is None:
                return False
            send(self._control, message, descriptors)
        except OSError as error:
            self.log.error("services process unreachable", error=str(error))
            return False
        finally:
            for descriptor in descriptors or []:
                os.close(descriptor)
        return True

    def _on_message(self, control: socket.socket) -> None:
        try:
            message, descriptors = receive(control)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, msgspec.DecodeError):
            message, descriptors = None, []
        if message is None:
            asyncio.get_running_loop().remove_reader(control.fileno())
        elif isinstance(message, Configured) and message.error:
            self.log.error("configuration kept by services", reason=message.error)
        elif isinstance(message, Configured):
            self.log.info("services ready", epoch=message.epoch, pid=self.pid)
        elif isinstance(message, Reload):
            self._reload(message)
        elif isinstance(message, UseEntries):
            self._entries(message, msgspec.msgpack.decode(read_memory_file(descriptors[0]), type=list[Entry]))
        elif isinstance(message, Operate):
            self._operate(message, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            born, lived = time.monotonic(), 0.0
            try:
                process = await self._start()
            except OSError as error:
                self.log.error("services process not started, trying again", error=str(error))
            else:
                status = await process.wait()
                self._close_control()
                if self._stopping:
                    return
                lived = time.monotonic() - born
                self.restarts += 1
                self.log.error("services process died, starting it again", status=status, lived=round(lived, 3))
            pause = FIRST_PAUSE if lived > LONG_LIFE else min(LONGEST_PAUSE, 2 * pause)
            await asyncio.sleep(pause)

    def _close_control(self) -> None:
        if self._control is not None:
            with contextlib.suppress(ValueError, OSError):
                asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
            self._control = None

    async def stop(self) -> None:
        """End it: after the workers, so that it hears all they had to say."""
        self._stopping = True
        self.send(Stop(STOP_SECONDS))
        process = self._process
        if process is not None and process.returncode is None:
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS + GRACE)
            except TimeoutError:
                self.log.error("services process killed: it did not stop in time")
                process.kill()
                await process.wait()
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        self._close_control()


def _memory(config: Config) -> int:
    return memory_file("sipedge-configuration", msgspec.msgpack.encode(config))
