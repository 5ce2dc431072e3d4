"""Kamailio as the registrar of a test: a process of its own, and what it says that it has kept."""
import contextlib
import re
import shutil
import subprocess
from pathlib import Path
from types import TracebackType

import pytest

from tests.certificates import Authority
from tests.edge import START_SECONDS, WAIT_SECONDS, Output, kill_group, wait_until
from tests.scenarios.sipp import is_bound

_SCRIPT = Path(__file__).with_name("kamailio.cfg")
_STOP_SECONDS = 10.0


class Kamailio:
    """On host:5060 by UDP and TCP, on host:5061 by TLS, with a certificate for its address. Whoever knows the password
    `secret` may register.

    expires: seconds that it grants at most.
    """

    def __init__(self, host: str, folder: Path, authority: Authority, *, expires: int = 60):
        command = shutil.which("kamailio", path="/usr/sbin:/usr/bin")
        if command is None:
            pytest.skip("kamailio is not installed (Debian packages kamailio, kamailio-tls-modules)")
        certificate, key = authority.give(f"kamailio-{host}", f"IP:{host}")
        text = _SCRIPT.read_text()
        for name, value in {"host": host, "certificate": certificate, "key": key, "ca": authority.certificate,
                            "expires": expires}.items():
            text = text.replace(f"@{name}@", str(value))
        folder.mkdir(exist_ok=True)
        file = folder / "kamailio.cfg"
        file.write_text(text)
        self.host = host
        self._process = subprocess.Popen(
            [command, "-f", str(file), "-DD", "-E", "-x", "tlsf", "-X", "tlsf", "-m", "64", "-M", "8", "-Y",
             str(folder)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            errors="replace", start_new_session=True)
        assert self._process.stderr is not None
        self._said = Output(self._process.stderr)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        """It has bound its sockets before it makes its processes, and the last of those is the one for TCP."""
        try:
            wait_until(lambda: is_bound((self.host, 5061), True), "kamailio listens", START_SECONDS)
        except AssertionError:
            self.stop()
            raise AssertionError("kamailio did not start:\n" + "\n".join(self._said.lines)) from None

    @property
    def kept(self) -> list[str]:
        """What it has kept: user, transport, what was asked for, contact."""
        return [match[1] for line in self._said.lines if (match := re.search(r"\[kept (.*)\]", line))]

    def wait_kept(self, count: int, containing: str = "") -> list[str]:
        """What it has kept, as soon as there are so many that contain that text."""
        def enough(lines: list[str]) -> bool:
            return sum("[kept " in line and containing in line for line in lines) >= count

        assert self._said.wait(enough, WAIT_SECONDS), "\n".join(self._said.lines)
        return [one for one in self.kept if containing in one]

    def __enter__(self) -> "Kamailio":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Its processes can wait for one another at the end: then all of them are killed, not the first alone."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        kill_group(self._process)
        self._said.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
