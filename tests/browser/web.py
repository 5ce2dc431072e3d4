"""The pages of the phones and the packages they load, over HTTP on loopback."""
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

FOLDER = Path(__file__).parent


class Handler(SimpleHTTPRequestHandler):
    """This folder's files, and another one's below /packages."""

    def __init__(self, *arguments, packages: Path):
        self._packages = packages
        super().__init__(*arguments, directory=str(FOLDER))

    def translate_path(self, path: str) -> str:
        self.directory = str(self._packages if path.startswith("/packages/") else FOLDER)
        return super().translate_path(path.removeprefix("/packages"))

    def log_message(self, format: str, *arguments: object) -> None:
        """Nobody reads it."""


class Web:
    """The server, in a thread of its own. packages: a folder with a package in each folder."""

    def __init__(self, packages: Path):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, packages=packages))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.origin = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Web":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
