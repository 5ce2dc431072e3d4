"""The HTTP API of an edge of these tests."""
import json
import time
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import httpx

SECONDS = 60


def http_client(url: str) -> httpx.Client:
    """A client for the API at that URL.

    A server closes a connection that was idle for 5 s. The client gives it up before: a request that crosses the end of
    its connection is answered by nobody.
    """
    return httpx.Client(base_url=url, timeout=SECONDS, trust_env=False, limits=httpx.Limits(keepalive_expiry=4))


class Api:
    """net: where the edge is; it listens on `<net>.1:8080`."""

    def __init__(self, net: str):
        self._base = f"http://{net}.1:8080"

    def get(self, path: str) -> Any:
        """A worker that is late to answer (503) is asked again."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                return self._ask(Request(self._base + path))
            except HTTPError as error:
                if error.code != 503 or time.monotonic() > deadline:
                    raise

    def post(self, path: str, body: object) -> Any:
        """HTTPError where it is refused."""
        return self._ask(Request(self._base + path, json.dumps(body).encode(), {"Content-Type": "application/json"}))

    def delete(self, path: str) -> Any:
        return self._ask(Request(self._base + path, method="DELETE"))

    def is_ready(self) -> bool:
        try:
            self._ask(Request(f"{self._base}/health/ready"))
        except (HTTPError, URLError, ConnectionError):
            return False
        return True

    @staticmethod
    def _ask(request: Request) -> Any:
        with urlopen(request, timeout=SECONDS) as answer:
            return json.loads(answer.read() or b"null")
