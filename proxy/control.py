"""The control socket of an edge: where it stands, and how to ask something over it."""
import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from proxy import app
from proxy.config import Config
from proxy.messages import Message, receive, send


def control_path(config: Config) -> Path:
    """Where the control socket is: the configured folder, the service manager's, or one of the user's own."""
    host, port, *_ = app.listeners(config)[0]
    return control_path_of(host, port, config.process.directory)


def control_path_of(host: str, port: int, directory: str = "") -> Path:
    """The same by the address of the first listener."""
    folder = directory or os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(folder or Path(tempfile.gettempdir()) / f"sipedge-{os.getuid()}") / f"control-{host}-{port}.sock"


@contextlib.contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A name for a socket in the file system that fits into an address (unix(7): 107 bytes), however long its path is.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def taken(path: Path) -> bool:
    """Whether an edge listens there, however busy it is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(1.0)
        try:
            with short_name(path) as name:
                client.connect(name)
        except TimeoutError:
            return True
        except OSError:
            return False
    return True


def ask(config: Config, question: Message, descriptors: list[int] | None = None) -> Message:
    """Ask a running edge something over its control socket. OSError where none runs with that configuration."""
    return ask_at(control_path(config), question, descriptors)


def ask_at(path: Path, question: Message, descriptors: list[int] | None = None) -> Message:
    """The same over the control socket at that path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(20.0)
        with short_name(path) as name:
            client.connect(name)
        send(client, question, descriptors)
        answer, _ = receive(client)
    if answer is None:
        raise ConnectionError("the edge closed the connection")
    return answer
