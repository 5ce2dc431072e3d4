"""Name servers on loopback: a real one (unbound), and one that answers with whatever bytes a test has for it."""
import contextlib
import random
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.edge import wait_until

STOP_SECONDS = 10.0
_CONFIGURATION = """
server:
    interface: 127.0.0.1@{port}
    do-ip6: no
    do-daemonize: no
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: "{folder}/pid"
    use-syslog: no
    verbosity: 1
    log-queries: yes
    logfile: ""
    do-not-query-localhost: no
    module-config: "iterator"
    local-zone: "." static
{data}
remote-control:
    control-enable: no
"""


def free_port() -> int:
    """One that is free for UDP and TCP alike."""
    while True:
        port = random.randrange(20_000, 30_000)
        with (contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
              socket.socket() as two):
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port))
            return port


class Unbound:
    """lines: zone file lines such as `pbx.example.com. 60 IN A 192.0.2.1`; all other names are not there."""

    def __init__(self, *lines: str, port: int = 0):
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._folder = tempfile.TemporaryDirectory(prefix="unbound-")
        folder = Path(self._folder.name)
        data = "\n".join(f"    local-data: '{line}'" for line in lines)
        (folder / "conf").write_text(_CONFIGURATION.format(port=self.port, folder=folder, data=data))
        self._log = (folder / "log").open("w+")
        self._process = subprocess.Popen(["unbound", "-d", "-c", str(folder / "conf")], stderr=self._log,
                                         stdin=subprocess.DEVNULL)
        try:
            wait_until(lambda: "start of service" in self.log or self._process.poll() is not None, "unbound serves")
            assert self._process.poll() is None, self.log
        except AssertionError:
            self.stop()
            raise

    @property
    def log(self) -> str:
        return (Path(self._folder.name) / "log").read_text()

    def stop(self) -> None:
        """End it, however it goes: how it ends is not what is tested."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self._process.kill()
        self._process.wait(STOP_SECONDS)
        self._log.close()
        self._folder.cleanup()

    def __enter__(self) -> "Unbound":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextlib.contextmanager
def liar(answer: Callable[[bytes], list[bytes]]) -> Iterator[str]:
    """A UDP server that sends back what answer makes of each query; its address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                query, source = sock.recvfrom(4096)
                if not query:
                    return
                for reply in answer(query):
                    sock.sendto(reply, source)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{sock.getsockname()[1]}"
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
                own.sendto(b"", sock.getsockname())
            thread.join()


def name_bytes(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def record(name: str, kind: int, data: bytes, ttl: int = 60) -> bytes:
    return name_bytes(name) + kind.to_bytes(2) + b"\0\1" + ttl.to_bytes(4) + len(data).to_bytes(2) + data


def reply(query: bytes, *records: bytes, flags: int = 0x8180, count: int = -1, question: bytes | None = None) -> bytes:
    """A response to query; count: how many records it claims to have."""
    end = 12
    while query[end]:
        end += 1 + query[end]
    asked = query[12:end + 5] if question is None else question
    claimed = len(records) if count < 0 else count
    return query[:2] + flags.to_bytes(2) + b"\0\1" + claimed.to_bytes(2) + b"\0\0\0\0" + asked + b"".join(records)
