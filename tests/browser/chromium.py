"""A headless Chromium, steered by its DevTools protocol, and the pages in it.

Its microphone is one that beeps, and every page may use it. Connections of a page's media may run over loopback.
"""
import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.edge import Output, kill_group, wait_until

START_SECONDS = 90.0
SECONDS = 90.0
"""For an answer; what a page waits for itself is bounded by less."""
SAID = "DevTools listening on "


class Chromium:
    """The browser. folder: for its profile. keys: of certificates that are good whoever signed them (SHA-256 of the
    public key, base64)."""

    def __init__(self, folder: Path, keys: tuple[str, ...] = ()):
        command = shutil.which("chromium")
        if command is None:
            pytest.skip("chromium is not installed (Debian package chromium)")
        self._process = subprocess.Popen(
            [command, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
             "--no-first-run", "--no-default-browser-check", "--disable-background-networking", "--disable-sync",
             "--disable-component-update", "--disable-extensions", "--disable-breakpad", "--mute-audio",
             # A page that nobody looks at is one of the two that call each other.
             "--disable-renderer-backgrounding", "--disable-background-timer-throttling",
             "--disable-backgrounding-occluded-windows",
             "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
             "--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection",
             f"--ignore-certificate-errors-spki-list={','.join(keys)}", "--remote-debugging-port=0",
             f"--user-data-dir={folder}", "about:blank"],
            text=True, errors="backslashreplace", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, start_new_session=True, env=os.environ | {"HOME": str(folder)})
        assert self._process.stderr is not None
        self._err = Output(self._process.stderr)
        try:
            assert self._err.wait(lambda lines: any(line.startswith(SAID) for line in lines), START_SECONDS), \
                ("chromium did not start", self._err.lines)
            address = next(line for line in self._err.lines if line.startswith(SAID)).removeprefix(SAID)
            self._closing = contextlib.ExitStack()
            self._devtools = self._closing.enter_context(connect(
                address, max_size=None, proxy=None, compression=None, open_timeout=START_SECONDS, ping_interval=None))
        except BaseException:
            self._kill()
            raise
        self._last = 0
        self._troubles: dict[str, list[str]] = {}

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._closing.close()
        self._kill()

    def _kill(self) -> None:
        # All processes of the browser are one group.
        kill_group(self._process)
        self._err.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def ask(self, method: str, session: str = "", **parameters: object) -> dict[str, Any]:
        """A command of the protocol, and its result."""
        self._last += 1
        command: dict[str, object] = {"id": self._last, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        self._devtools.send(json.dumps(command))
        deadline = time.monotonic() + SECONDS
        while True:
            said = json.loads(self._devtools.recv(timeout=max(deadline - time.monotonic(), 0)))
            if said.get("id") == self._last:
                assert "error" not in said, (method, said["error"])
                return dict(said["result"])
            if said.get("method") == "Runtime.exceptionThrown":
                details = said["params"]["exceptionDetails"]
                self._troubles.setdefault(said["sessionId"], []).append(
                    details.get("exception", {}).get("description", details["text"]))

    def open(self, address: str) -> "Page":
        """A page of its own, loaded."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, target, session)
        self.ask("Runtime.enable", session)
        self.ask("Page.enable", session)
        self.ask("Page.navigate", session, url=address)
        wait_until(lambda: page.run("location.href") == address, f"{address} is the page's", SECONDS)
        page.run("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")
        return page

    def troubles(self, session: str) -> list[str]:
        """Errors that nobody in a page has caught."""
        return self._troubles.get(session, [])


class Page:
    """One page."""

    def __init__(self, browser: Chromium, target: str, session: str):
        self._browser = browser
        self._target = target
        self._session = session

    def run(self, script: str) -> Any:
        """What a script comes to; a promise is waited for. AssertionError with what the page says is wrong."""
        said = self._browser.ask("Runtime.evaluate", self._session, expression=script, awaitPromise=True,
                                 returnByValue=True, userGesture=True)
        if "exceptionDetails" in said:
            details = said["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description", details["text"]))
        return said["result"].get("value")

    def call(self, function: str, *arguments: object) -> Any:
        """What a function of the page comes to."""
        return self.run(f"{function}({', '.join(map(json.dumps, arguments))})")

    def close(self) -> None:
        """Close it as its user would; what nobody in it has caught is an error."""
        self._browser.ask("Target.closeTarget", targetId=self._target)
        assert self._browser.troubles(self._session) == []
