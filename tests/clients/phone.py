"""A baresip phone for tests: it plays a tone of its own, records what it hears, and says what happens to it."""
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.edge import wait_until

SECONDS = 60.0
STOP_SECONDS = 10.0
LIFE = "300"
"""Seconds after which a phone ends by itself, should nobody end it."""
FIRST, LAST = 22000, 31999
"""Where phones look for their ports: off those that the system gives away."""
PORTS = 10
SECOND = 16_000
"""Bytes of a recorded second: 8000 samples of 16 bits."""
PURE = 0.9
"""The share of a tone in all that is heard; what is missing is the codec's noise."""


def free_ports() -> int:
    """The first of PORTS ports that nobody uses now, UDP and TCP, on no address; begins elsewhere in every process."""
    blocks = (LAST + 1 - FIRST) // PORTS
    for number in range(blocks):
        base = FIRST + PORTS * ((os.getpid() + number) % blocks)
        if all(_is_free(port) for port in range(base, base + PORTS)):
            return base
    raise AssertionError("no free ports for a phone")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as tried:
            try:
                tried.bind(("", port))
            except OSError:
                return False
    return True


class Phone:
    """A running baresip. user: its name; tone: Hz; more: lines of its configuration; answers: at once, by itself; srtp:
    its `mediaenc`, "srtp" (RTP/AVP with keys) or "srtp-mand" (RTP/SAVP). account: its line in baresip's `accounts`, for
    a phone that registers."""

    def __init__(self, clients: Path, folder: Path, user: str, tone: int, more: str = "", answers: bool = True,
                 srtp: str = "", account: str = ""):
        command = shutil.which("baresip")
        if command is None:
            pytest.skip("baresip is not installed (Debian package baresip-core)")
        base = free_ports()
        self.user, self.tone, self.address = user, tone, ("127.0.0.1", base)
        self._clients, self._folder = clients, folder
        subprocess.run([sys.executable, str(clients / "baresip.py"), str(folder), user, str(base), str(base + 2),
                        f"{base + 4}-{base + 9}", str(tone), "auto" if answers else "manual"], check=True,
                       timeout=SECONDS)
        with (folder / "config").open("a") as lines:
            lines.write(more + ("module srtp.so\n" if srtp else ""))
        if srtp:
            accounts = folder / "accounts"
            accounts.write_text(accounts.read_text().rstrip() + f";mediaenc={srtp}\n")
        if account:
            (folder / "accounts").write_text(f"{account}\n")
        self._screen = (folder / "screen").open("wb")
        self._process = subprocess.Popen([command, "-f", str(folder), "-t", LIFE], stdin=subprocess.DEVNULL,
                                         stdout=self._screen, stderr=subprocess.STDOUT)
        self.events: list[dict] = []
        self._changed = threading.Condition()
        try:
            wait_until(lambda: self._connected(base + 2), f"{user}'s baresip listens")
        except AssertionError:
            self._process.kill()
            self._process.wait(SECONDS)
            self._screen.close()
            raise
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _connected(self, port: int) -> bool:
        assert self._process.poll() is None, (self._folder / "screen").read_text(errors="replace")
        try:
            self._control = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        except ConnectionRefusedError:
            return False
        self._control.settimeout(None)
        return True

    def _read(self) -> None:
        """Netstrings with JSON: answers to commands, and events."""
        waiting = b""
        while True:
            try:
                data = self._control.recv(65536)
            except OSError:
                data = b""
            if not data:
                return
            waiting += data
            while b":" in waiting:
                length, _, rest = waiting.partition(b":")
                if len(rest) <= int(length):
                    break
                with self._changed:
                    self.events.append(json.loads(rest[:int(length)]))
                    self._changed.notify_all()
                waiting = rest[int(length) + 1:]

    def do(self, command: str, argument: str = "") -> None:
        """Give a command, such as dial."""
        text = json.dumps({"command": command, "params": argument, "token": command}).encode()
        self._control.sendall(b"%d:%b," % (len(text), text))

    def expect(self, kind: str, count: int = 1, **fields: object) -> dict:
        """The event of this type, as soon as there are count of them."""
        def found() -> list[dict]:
            return [event for event in self.events if event.get("type") == kind and fields.items() <= event.items()]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= count, SECONDS), (self.user, kind, self.events)
            return found()[count - 1]

    def hears(self, tone: int, others: tuple[int, ...]) -> None:
        """Wait until a second of what arrives from now on is this tone, and nothing beside it."""
        script = self._clients / "tone.py"
        before = self._recordings()

        def heard() -> bool:
            recordings = self._recordings()
            if not recordings:
                return False
            last = max(recordings, key=lambda path: path.stat().st_mtime_ns)
            if recordings[last] - before.get(last, 0) < SECOND:
                return False
            shown = subprocess.run([sys.executable, str(script), str(last), *map(str, (tone, *others))],
                                   capture_output=True, text=True, timeout=SECONDS).stdout
            name, _, share = shown.rpartition(" ")[2].partition("Hz:")
            return name == str(tone) and float(share) >= PURE

        wait_until(heard, f"{self.user} hears {tone} Hz", SECONDS)

    def _recordings(self) -> dict[Path, int]:
        """The files with what arrived, and their sizes."""
        return {path: path.stat().st_size for path in (self._folder / "rec").glob("*-dec.wav")}

    def close(self) -> None:
        """End the phone, however it goes: how a phone ends is not what is tested."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(SECONDS)
        self._control.close()
        self._reader.join(SECONDS)
        self._screen.close()
