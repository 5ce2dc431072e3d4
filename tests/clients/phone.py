"""A baresip phone for tests: it plays a tone of its own, records what it hears, and says what happens to it."""
import json
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.edge import wait_until

SECONDS = 20.0
LIFE = "60"
"""Seconds after which a phone ends by itself, should nobody end it."""


class Phone:
    """A running baresip. user: its name; tone: Hz; base: the first of ten free ports (SIP, its TLS, control, RTP)."""

    def __init__(self, clients: Path, folder: Path, user: str, tone: int, base: int):
        command = shutil.which("baresip")
        if command is None:
            pytest.skip("baresip is not installed (Debian package baresip-core)")
        self.user, self.tone, self.address = user, tone, ("127.0.0.1", base)
        self._clients, self._folder = clients, folder
        subprocess.run([sys.executable, str(clients / "baresip.py"), str(folder), user, str(base), str(base + 2),
                        f"{base + 4}-{base + 9}", str(tone)], check=True, timeout=SECONDS)
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
        """Wait until the last recording of what arrives holds a whole second of this tone."""
        script = self._clients / "tone.py"

        def heard() -> bool:
            files = sorted((self._folder / "rec").glob("*-dec.wav"), key=lambda path: path.stat().st_mtime_ns)
            if not files:
                return False
            shown = subprocess.run([sys.executable, str(script), str(files[-1]), *map(str, (tone, *others))],
                                   capture_output=True, text=True, timeout=SECONDS).stdout
            return shown.rpartition(" ")[2].startswith(f"{tone}Hz:")

        wait_until(heard, f"{self.user} hears {tone} Hz", SECONDS)

    def close(self) -> None:
        """End the phone."""
        self._process.terminate()
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(SECONDS)
        self._control.close()
        self._reader.join(SECONDS)
        self._screen.close()
