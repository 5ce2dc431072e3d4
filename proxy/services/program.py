"""A local program between a text and bytes: bounded in time and output, and gone when nobody waits for it."""
import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from .client import NoAnswer

# Keys of this process may stand in its environment, and are no business of the program.
_INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE")
_OUTPUT = 1
GONE_SECONDS = 1.0
"""How long a program that was killed is waited for: it is gone at once, unless a broken device holds it."""


class _Output(asyncio.SubprocessProtocol):
    """Collects what comes; done: when the program has ended and all is here, or there is enough."""

    def __init__(self, limit: int, done: "asyncio.Future[None]"):
        self.got = bytearray()
        self.open = True
        self.exited: asyncio.Future[None] = done.get_loop().create_future()
        self._limit = limit
        self._done = done

    def pipe_data_received(self, descriptor: int, data: bytes) -> None:
        self.got += data[:self._limit - len(self.got)]
        if len(self.got) == self._limit and not self._done.done():
            self._done.set_result(None)

    def pipe_connection_lost(self, descriptor: int, error: Exception | None) -> None:
        if descriptor == _OUTPUT:
            self.open = False
            self._finish()

    def process_exited(self) -> None:
        self.gone()
        self._finish()

    def gone(self) -> None:
        """It has exited, or is not waited for any longer."""
        if not self.exited.done():
            self.exited.set_result(None)

    def _finish(self) -> None:
        if not self.open and self.exited.done() and not self._done.done():
            self._done.set_result(None)


async def run(command: Sequence[str], text: bytes, limit: int) -> bytes:
    """What a command writes when it reads a text, the first `limit` bytes.

    Whoever cancels this, or has read enough, ends the program with everything that it has started in its group.
    Raises NoAnswer where there is no such program or it fails.
    """
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    # A task of its own, which is told to end: cancelled while it starts or ends a program, it would lose sight of it.
    life = asyncio.create_task(_live(command, text, limit, done))
    try:
        return await asyncio.shield(life)
    finally:
        done.cancel()
        await _outlast(life)


async def _live(command: Sequence[str], text: bytes, limit: int, done: "asyncio.Future[None]") -> bytes:
    """The program from its start to its end; whoever cancels `done` ends it."""
    loop = asyncio.get_running_loop()
    environment = {"LC_ALL": "C.UTF-8"} | {name: os.environ[name] for name in _INHERITED if name in os.environ}
    try:
        transport, output = await loop.subprocess_exec(
            lambda: _Output(limit, done), *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL, env=environment, start_new_session=True)
    except OSError as error:
        raise NoAnswer(f"the program {command[0]} does not start: {error.strerror}") from None
    try:
        entrance = cast(asyncio.WriteTransport, transport.get_pipe_transport(0))
        if not entrance.is_closing():  # a program may have ended, or closed its input, by now
            entrance.write(text)
            entrance.close()
        await done
        status = transport.get_returncode()
        if status and len(output.got) < limit:
            raise NoAnswer(f"the program {command[0]} failed with status {status}")
        return bytes(output.got)
    finally:
        # The number of a group is not given again while the group has members; one that is over may have lost it.
        if transport.get_returncode() is None or output.open:
            with suppress(ProcessLookupError):
                os.killpg(transport.get_pid(), signal.SIGKILL)
        # A transport that is closed before may lose its status.
        late = loop.call_later(GONE_SECONDS, output.gone)
        await _outlast(output.exited)
        late.cancel()
        transport.close()


async def _outlast(what: "asyncio.Future[Any]") -> None:
    """Until it is done, however often the waiting is cancelled."""
    while not what.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([what])
