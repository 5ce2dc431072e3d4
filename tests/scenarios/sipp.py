"""SIPp as a process of a test: one scenario, one side of it, and the messages that it saw on the wire."""
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.edge import wait_until

FOLDER = Path(__file__).parent
SECONDS = 12
MEDIA_PORT = 30000
"""For the audio of all calls of a SIPp, off the ports that the system gives away."""
_RULE = re.compile(rb"^-{40,} \d{4}-\d\d-\d\d.*\n", re.MULTILINE)
_LOGGED = re.compile(rb"UDP message (received|sent) [\[(](\d+)\]? bytes\)? ?:\n\n")


@dataclass(frozen=True)
class Seen:
    """A message as SIPp logged it. size: bytes of the datagram."""

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
    """A running SIPp. scenario: `folder/side`; address: where it is bound; remote: where a caller sends to.

    tolerant: messages that the scenario does not name are passed over. echo: audio is sent back to where it came from.
    """

    def __init__(self, scenario: str, address: tuple[str, int], work: Path, *, remote: tuple[str, int] | None = None,
                 user: str = "2000", calls: int = 1, rate: int = 10, tolerant: bool = False,
                 echo: bool = False):
        command = shutil.which("sipp")
        if command is None:
            pytest.skip("sipp is not installed (Debian package sip-tester)")
        self.scenario = scenario
        name = f"{scenario.replace('/', '-')}-{address[0]}"
        self._messages, self._errors = work / f"{name}.messages", work / f"{name}.errors"
        self._screen = (work / f"{name}.screen").open("wb")
        arguments = [
            command, *([f"{remote[0]}:{remote[1]}"] if remote else []), "-sf", str(FOLDER / f"{scenario}.xml"),
            "-i", address[0], "-p", str(address[1]), "-s", user, "-m", str(calls), "-r", str(rate), "-nostdin",
            "-timeout", str(SECONDS), "-timeout_error", "-trace_msg", "-message_file", str(self._messages),
            "-trace_err", "-error_file", str(self._errors),
            *(["-default_behaviors", "all,-abortunexp"] if tolerant else []), "-mp", str(MEDIA_PORT),
            *(["-rtp_echo"] if echo else [])]
        self._process = subprocess.Popen(arguments, cwd=work, stdin=subprocess.DEVNULL, stdout=self._screen,
                                         stderr=subprocess.STDOUT)
        if remote is None:
            try:
                wait_until(lambda: _is_bound(address), f"sipp listens on {address}")
            except AssertionError:
                self.kill()
                raise

    def finish(self) -> None:
        """Wait for the end of the scenario, and assert that everything in it went as written."""
        status = self._process.wait(SECONDS + 10)
        self._screen.close()
        errors = self._errors.read_text(errors="replace") if self._errors.exists() else ""
        assert status == 0, f"{self.scenario}: status {status}\n{errors[:4000]}"

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


def _is_bound(address: tuple[str, int]) -> bool:
    number = int.from_bytes(bytes(map(int, address[0].split("."))), "little")
    return f" {number:08X}:{address[1]:04X} " in Path("/proc/net/udp").read_text()
