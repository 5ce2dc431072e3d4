"""SIPp as a process of a test: one scenario, one side of it, and the messages that it saw on the wire."""
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pytest

from tests.edge import wait_until
from tests.scenarios.script import CUE, WAITING, Script

FOLDER = Path(__file__).parent
SECONDS = 60
MEDIA_PORT = 30000
"""For the audio of all calls of a SIPp, off the ports that the system gives away."""
_RULE = re.compile(rb"^-{40,} \d{4}-\d\d-\d\d.*\n", re.MULTILINE)
_LOGGED = re.compile(rb"(?:UDP|TCP) message (received|sent) [\[(](\d+)\]? bytes\)? ?:\n\n")


@dataclass(frozen=True)
class Seen:
    """A message as SIPp logged it. size: in bytes."""

    received: bool
    size: int
    text: str

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0].rstrip("\r")

    def values(self, name: str) -> list[str]:
        """The values of a header, by its name as it stands on the wire."""
        head = self.text.replace("\r\n", "\n").partition("\n\n")[0]
        return re.findall(rf"^{re.escape(name)}[ \t]*:[ \t]*(.*)$", head, re.MULTILINE)


class Sipp:
    """A running SIPp. scenario: `folder/side` or a Script; address: where it is bound; remote: where a caller sends to.

    tolerant: messages that the scenario does not name are passed over. echo: audio is sent back to where it came from.
    transport: SIPp's `-t`: u1 for UDP; t1 for TCP with one connection, tn with one a call.
    """

    def __init__(self, scenario: str | Script, address: tuple[str, int], work: Path, *,
                 remote: tuple[str, int] | None = None, user: str = "2000", calls: int = 1, rate: int = 10,
                 tolerant: bool = False, echo: bool = False, transport: str = "u1",
                 media_port: int = MEDIA_PORT):
        command = shutil.which("sipp")
        if command is None:
            pytest.skip("sipp is not installed (Debian package sip-tester)")
        self._address = address
        self._cues = 0
        self.scenario = scenario if isinstance(scenario, str) else scenario.name
        file = FOLDER / f"{scenario}.xml" if isinstance(scenario, str) else scenario.write(work)
        name = f"{self.scenario.replace('/', '-')}-{address[0]}-{transport}"
        stream = transport[0] == "t"
        if stream:
            file = _over_tcp(file, work / f"{name}.xml")
        self._messages, self._errors = work / f"{name}.messages", work / f"{name}.errors"
        self._logged = work / f"{name}.logged"
        self._screen = (work / f"{name}.screen").open("wb")
        arguments = [
            command, *([f"{remote[0]}:{remote[1]}"] if remote else []), "-sf", str(file),
            "-t", transport, "-i", address[0], "-p", str(address[1]), "-s", user, "-m", str(calls), "-r", str(rate),
            "-nostdin", "-timeout", str(SECONDS), "-timeout_error", "-trace_msg", "-message_file", str(self._messages),
            "-trace_err", "-error_file", str(self._errors),
            "-trace_logs", "-log_file", str(self._logged),
            *(["-default_behaviors", "all,-abortunexp"] if tolerant else []), "-mp", str(media_port),
            *(["-rtp_echo"] if echo else []), *(["-max_socket", "1000"] if transport == "tn" else [])]
        self._process = subprocess.Popen(arguments, cwd=work, stdin=subprocess.DEVNULL, stdout=self._screen,
                                         stderr=subprocess.STDOUT)
        if remote is None:
            try:
                wait_until(lambda: is_bound(address, stream), f"sipp listens on {address}")
            except AssertionError:
                self.kill()
                raise

    def __enter__(self) -> "Sipp":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.kill()

    def finish(self) -> None:
        """Wait for the end of the scenario, and assert that everything in it went as written."""
        try:
            status = self._process.wait(SECONDS + 10)
        finally:
            self.kill()
        assert status == 0, f"{self.scenario}: status {status}\n{self.ladder()}\n{self.errors()}"

    def errors(self) -> str:
        """What it did not expect."""
        return self._errors.read_text(errors="replace")[:4000] if self._errors.exists() else ""

    @property
    def failed(self) -> bool:
        """Whether it has ended, and not as written."""
        return bool(self._process.poll())

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def cue(self) -> None:
        """Let it go on as soon as it waits for that; in its one call, by a request that nobody answers."""
        self._cues += 1
        wait_until(lambda: self.ended or (self._logged.exists() and (
            self._logged.read_text().count(WAITING) >= self._cues)), "it waits for its cue")
        if self.ended:
            return
        call_id = self.seen()[0].values("Call-ID")[0]
        host, port = self._address
        text = "\r\n".join([
            f"{CUE} sip:{host}:{port} SIP/2.0", f"Via: SIP/2.0/UDP {host}:9;branch=z9hG4bK{call_id}-{len(self.seen())}",
            "From: <sip:test@invalid>;tag=cue", "To: <sip:test@invalid>", f"Call-ID: {call_id}", f"CSeq: 1 {CUE}",
            "Content-Length: 0", "", ""])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(text.encode(), self._address)

    def ladder(self) -> str:
        """The messages, a line each."""
        return "\n".join(f"{self.scenario} {'<-' if message.received else '->'} {message.first_line} "
                         f"({', '.join(message.values('CSeq'))})" for message in self.seen())

    def kill(self) -> None:
        """End it where the test has no more use for it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(SECONDS)
        self._screen.close()

    def seen(self) -> list[Seen]:
        """The messages in the order of the wire."""
        if not self._messages.exists():
            return []
        parts = _LOGGED.split(_RULE.sub(b"", self._messages.read_bytes()))[1:]
        return [Seen(parts[i] == b"received", int(parts[i + 1]), parts[i + 2].decode(errors="surrogateescape"))
                for i in range(0, len(parts), 3)]

    def received(self, start: str) -> list[Seen]:
        """What came in and begins so: `INVITE `, `SIP/2.0 200`."""
        return [message for message in self.seen() if message.received and message.text.startswith(start)]


def is_bound(address: tuple[str, int], stream: bool) -> bool:
    """Whether somebody has bound a port, of TCP for connections."""
    number = int.from_bytes(bytes(map(int, address[0].split("."))), "little")
    listening = " 00000000:0000 0A" if stream else " "
    return f" {number:08X}:{address[1]:04X}{listening}" in Path(f"/proc/net/{'tcp' if stream else 'udp'}").read_text()


def _over_tcp(scenario: Path, file: Path) -> Path:
    """The same scenario with Vias and Contacts of TCP."""
    text = scenario.read_text().replace("SIP/2.0/UDP", "SIP/2.0/TCP")
    file.write_text(text.replace("@[local_ip]:[local_port]>\n", "@[local_ip]:[local_port];transport=tcp>\n"))
    return file
