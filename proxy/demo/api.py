"""The agent's side of the HTTP API: JSON there and back, one request at a time."""
import asyncio
import contextlib
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

import msgspec

from .call import Unexpected

SECONDS = 30
"""How long an answer is awaited."""
STARTING, RETRY = 90, 0.2
"""Seconds that the services process may take to start, and between two looks at it."""


class Api:
    """url: `http://127.0.0.1:8080`. token: what requests carry."""

    def __init__(self, url: str, token: str):
        self.url = url
        self.token = token
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80

    async def ready(self) -> None:
        """Wait until the API answers and every worker is there. Raises Unexpected."""
        status = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STARTING):
                while status != 200:
                    with contextlib.suppress(Unexpected):
                        status, _ = await asyncio.to_thread(self._ask, "GET", "/health/ready", None)
                    if status != 200:
                        await asyncio.sleep(RETRY)
                return
        raise Unexpected(f"{self.url}/health/ready: {status or 'no answer'} within {STARTING} s")

    async def ask(self, method: str, path: str, document: Any = None, *, expected: int) -> Any:
        """The JSON of the answer, which must have that status. Raises Unexpected."""
        status, answer = await asyncio.to_thread(self._ask, method, path, document)
        if status != expected:
            detail = answer.get("detail", "") if isinstance(answer, dict) else ""
            raise Unexpected(f"{method} {path}: expected {expected}, found {status} {detail}".rstrip())
        return answer

    def _ask(self, method: str, path: str, document: Any) -> tuple[int, Any]:
        body = None if document is None else msgspec.json.encode(document)
        headers = {"Authorization": f"Bearer {self.token}"} | ({"Content-Type": "application/json"} if body else {})
        connection = HTTPConnection(self._host, self._port, timeout=SECONDS)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            found = answer.read()
            return answer.status, msgspec.json.decode(found) if found else None
        except (OSError, HTTPException, msgspec.DecodeError) as error:
            raise Unexpected(f"{method} {self.url}{path}: {error}") from None
        finally:
            connection.close()
