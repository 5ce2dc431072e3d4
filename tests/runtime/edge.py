"""A running edge in processes of its own, and phones on real sockets that call through it."""
import contextlib
import json
import os
import queue
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from proxy import load
from proxy.control import ask
from proxy.messages import AskStatistics, Statistics
from sipcore.net.loopback import Packet
from tests.edge import PATIENT, kill_group, wait_until
from tests.endpoints import SDP, Dialog, Phone, Received

NETWORK = f"127.{64 + os.getpid() % 128}.{os.getpid() // 128 % 256}"
"""Loopback addresses of this process alone, so that runs side by side do not meet."""
ROOT = Path(__file__).parents[2]
WAIT = 60.0
"""Seconds after which what is waited for is taken to be missing."""

CONFIGURATION = """\
[[listener]]
name = "local"
bind = "udp:{network}.1:{port}"

[[group]]
name = "phones"
addresses = ["{network}.0/24"]
rate = 0

[[upstream]]
name = "pbx"
targets = [{{ address = "{network}.3:{pbx}" }}]

[[route]]
to = "pbx"
headers = ["call"]

[[headers]]
name = "call"
on = ["INVITE"]
[[headers.add]]
name = "X-Edge-Call"
value = "{{call_id}}"

{patient}
# The phones lose nothing, and what they are slow to answer comes once.
[timers]
t1 = 4

[process]
directory = "{folder}"
stop_timeout = {stop_timeout}

[log]
format = "json"
{more}
"""


def free_port(host: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def no_open_files(pid: int) -> Iterator[None]:
    """A process can open nothing more meanwhile."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


class _Socket:
    """What a Phone takes for its port on a link."""

    def __init__(self, host: str, port: int):
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, port))
        self.socket.settimeout(WAIT)
        self.inbox: list[Packet] = []

    def open(self, host: str, port: int) -> "_Socket":
        return self

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        self.socket.sendto(data, to)


class SocketPhone(Phone):
    """A Phone on a real socket; `wait` blocks until a message arrives."""

    def __init__(self, name: str, host: str, edge: tuple[str, int], port: int = 0):
        wire = _Socket(host, port)
        super().__init__(wire, name, host, wire.socket.getsockname()[1], edge)  # type: ignore[arg-type]
        self.socket = wire.socket

    def wait(self, name: str) -> Received:
        """The next message of that method or status; provisional responses before it are passed over."""
        while True:
            data, source = self.socket.recvfrom(65535)
            received = Received(Packet(0, source[:2], (self.host, self.number), data))
            if received.name == name:
                return received
            assert received.name in ("100", "180"), f"expected {name}, got {received.name}"

    def silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing arrives for so long."""
        self.socket.settimeout(seconds)
        try:
            self.socket.recvfrom(65535)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(WAIT)
        return False


def run_edge(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "proxy", *arguments], text=True, capture_output=True, timeout=WAIT,
                          cwd=ROOT, **options)


class RunningEdge:
    """`sipedge run` with a configuration of its own, a caller and a PBX. Use it as a context manager."""

    def __init__(self, folder: Path, *, more: str = "", stop_timeout: float = 2, stdout=None, environment=None,
                 arguments: tuple[str, ...] = ()):
        self.folder = folder
        self.file = folder / "edge.toml"
        self.address = (f"{NETWORK}.1", free_port(f"{NETWORK}.1"))
        self.pbx = SocketPhone("pbx", f"{NETWORK}.3", self.address)
        self.caller = SocketPhone("alice", f"{NETWORK}.2", self.address)
        self.text = CONFIGURATION.format(network=NETWORK, port=self.address[1], pbx=self.pbx.number, folder=folder,
                                         stop_timeout=stop_timeout, patient=PATIENT, more=more)
        self.file.write_text(self.text)
        self.calls = folder / "calls.log"
        self.environment = os.environ | (environment or {})
        self.arguments = arguments
        self._stdout = stdout
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reading = threading.Event()
        self._reading.set()
        self.log: list[dict] = []
        self._numbers = iter(range(1, 1000))

    def __enter__(self) -> "RunningEdge":
        with self.calls.open("wb") as calls:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "proxy", "run", "-c", str(self.file), *self.arguments],
                stdin=subprocess.DEVNULL, stdout=self._stdout or calls, stderr=subprocess.PIPE, text=True,
                env=self.environment, cwd=ROOT)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        try:
            self.ready = self.event("worker ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def pause_reading(self) -> None:
        """Take nothing more from the edge's log."""
        self._reading.clear()

    def __exit__(self, *_: object) -> None:
        self._reading.set()
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(WAIT)
        self._reader.join(WAIT)
        left = self._reader.is_alive()
        kill_group(self.process)
        self._reader.join(WAIT)
        assert self.process.stderr is not None
        self.process.stderr.close()
        for phone in (self.caller, self.pbx):
            phone.socket.close()
        assert not left, "a process of the edge was left"

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._reading.wait()
            self._lines.put(line)
        self._lines.put(None)

    def event(self, name: str, **fields: object) -> dict:
        """The next log line with this event and these fields."""
        while True:
            line = self._lines.get(timeout=WAIT)
            assert line is not None, f"the edge ended before {name!r}: {self.log}"
            assert line.startswith("{"), f"no JSON in the log: {line}"
            self.log.append(json.loads(line))
            if self.log[-1]["event"] == name and fields.items() <= self.log[-1].items():
                return self.log[-1]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.signal(signal.SIGTERM)
        return self.process.wait(WAIT)

    def command(self, *arguments: str) -> str:
        """What a command of `sipedge` prints with this edge's configuration."""
        return subprocess.run([sys.executable, "-m", "proxy", *arguments, "-c", str(self.file)], check=True, text=True,
                              capture_output=True, timeout=WAIT, cwd=ROOT).stdout

    def statistics(self) -> dict[str, int]:
        answer = ask(load.load(self.file), AskStatistics())
        assert isinstance(answer, Statistics)
        return answer.counters | {"workers": answer.workers, "restarts": answer.restarts, "epoch": answer.epoch}

    def until(self, name: str, value: int) -> dict[str, int]:
        """The statistics once that one has reached that value."""
        found: dict[str, int] = {}

        def reached() -> bool:
            found.update(self.statistics())
            return found[name] >= value

        wait_until(reached, f"{name} reaches {value}", WAIT)
        return found

    # --- calls

    def ring(self) -> tuple[bytes, Received]:
        """An INVITE that rings: as it was sent, and as the PBX got it."""
        invite = self.caller.request("INVITE", self.uri, call_id=f"call-{next(self._numbers)}", body=SDP,
                                     headers=[("Content-Type", "application/sdp")])
        arrived = self.pbx.wait("INVITE")
        self.pbx.answer(arrived, 180)
        self.caller.wait("180")
        return invite, arrived

    def answer(self, arrived: Received) -> tuple[Dialog, Dialog]:
        self.pbx.answer(arrived, 200, body=SDP, headers=[("Content-Type", "application/sdp")])
        dialog = self.caller.caller_dialog(self.caller.wait("200"))
        dialog.send("ACK")
        self.pbx.wait("ACK")
        return dialog, self.pbx.callee_dialog(arrived)

    def call(self) -> tuple[Dialog, Dialog]:
        """An answered call; both dialogs."""
        return self.answer(self.ring()[1])

    def hang_up(self, dialog: Dialog) -> None:
        dialog.send("BYE")
        one, other = (self.caller, self.pbx) if dialog.phone is self.caller else (self.pbx, self.caller)
        other.answer(other.wait("BYE"), 200)
        one.wait("200")

    @property
    def uri(self) -> str:
        return f"sip:2001@{self.address[0]}:{self.address[1]}"

    def call_lines(self) -> list[dict]:
        """The lines of ended calls and transfers, after a stop."""
        return [json.loads(line) for line in self.calls.read_text().splitlines()]
