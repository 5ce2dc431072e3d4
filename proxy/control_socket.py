"""The supervisor's end of the control socket: one question a connection, answered at once."""
import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from proxy.control import short_name
from proxy.log import Log
from proxy.messages import Message, receive, send

SILENT_SECONDS = 5.0
"""After which a client that asks nothing is hung up on."""

Answer = Callable[[Message, list[int]], Message]
"""What is said to a question; the descriptors that came with it are closed afterwards."""


class ControlSocket:
    """Opened within a running loop. OSError where it cannot be."""

    def __init__(self, path: Path, answer: Answer, log: Log):
        self._path = path
        self._answer = answer
        self._log = log
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent.stat().st_uid != os.getuid():
            # Under a temporary folder somebody else may have made it first.
            raise PermissionError(f"{path.parent} belongs to somebody else")
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        with short_name(path) as name:
            self._socket.bind(name)
        path.chmod(0o600)
        self._socket.listen(8)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._on_client)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _on_client(self) -> None:
        """Nothing waits for a client that does not speak."""
        try:
            client, _ = self._socket.accept()
        except OSError:
            return
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(SILENT_SECONDS, self._hang_up, client)
        loop.add_reader(client.fileno(), self._on_question, client, deadline)

    def _hang_up(self, client: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(client.fileno())
        client.close()

    def _on_question(self, client: socket.socket, deadline: asyncio.TimerHandle) -> None:
        deadline.cancel()
        descriptors: list[int] = []
        try:
            question, descriptors = receive(client)
            if question is not None:
                send(client, self._answer(question, descriptors))
        except (OSError, msgspec.DecodeError) as error:
            self._log.warning("control client", error=str(error))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._hang_up(client)
