"""Requests to servers of the user's: the pre-call webhook, and what a transfer waits for.

Each is a signed POST of the call as JSON, answered by a JSON object that becomes the call's variables at `results`.
"""
import asyncio
from pathlib import Path
from time import time
from typing import Any

import msgspec

from proxy.config import Config, HttpRequest, read_secret
from proxy.events import Answer, AskRequests, Call

from .client import Client, NoAnswer, ahead
from .signature import signed

DEPTH = 32
"""Most levels of an answer: far more than a template names, far fewer than a recursion runs out at."""

RESULTS_BYTES = 131_072
"""Most bytes (JSON) of the results of a call together: they go to the worker in one message."""

_INTEGERS = range(-2**63, 2**64)


class Requests:
    """The configured requests. folder: what their files are relative to. ValueError where a key cannot be read or a
    fallback is no JSON object."""

    def __init__(self, config: Config, folder: Path):
        self._requests = {request.name: _Request(request, folder) for request in config.requests}

    async def ask(self, ask: AskRequests) -> Answer:
        """Make the requests at once, each within its own time-out and the deadline.

        values: `results`, with what the call had there already. A call that is not routed yet gets the answers'
        members right there, a later one at `results.data` and at `results.<name>`. error: why requests failed, and
        what was taken in their place; where it is empty, none did.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + ahead(ask.deadline)
        names = dict.fromkeys(ask.names)
        known = [name for name in names if name in self._requests]
        faults = [f"{name}: no such request" for name in names if name not in self._requests]
        outcomes = await asyncio.gather(*(self._requests[name].make(ask.call, until) for name in known))
        before = ask.call.variables.get("results")
        results: dict[str, Any] = dict(before) if isinstance(before, dict) else {}
        data: dict[str, Any] = {}
        for name, (found, fault) in zip(known, outcomes, strict=True):
            if found is not None:
                both = data | found
                grown = results | (found if ask.call.state == "asking" else {"data": both, name: found})
                if len(msgspec.json.encode(grown)) > RESULTS_BYTES:
                    fault = f"the results of the call have more than {RESULTS_BYTES} bytes, left out"
                else:
                    results, data = grown, both
            if fault:
                faults.append(f"{name}: {fault}")
        return Answer(ask=ask.ask, values={"results": results}, error="; ".join(faults))

    async def close(self) -> None:
        """Close the connections; requests that are under way fail."""
        await asyncio.gather(*(request.client.close() for request in self._requests.values()))


class _Request:
    def __init__(self, request: HttpRequest, folder: Path):
        self.client = Client()
        self._request = request
        try:
            self._key = read_secret(folder, request.secret_file, request.secret_env)
        except ValueError as error:
            raise ValueError(f"request {request.name}: {error}") from None
        try:
            self._fallback = _members(request.fallback.encode()) if request.fallback else None
        except NoAnswer as error:
            raise ValueError(f"the fallback of request {request.name}: {error}") from None

    async def make(self, call: Call, until: float) -> tuple[dict[str, Any] | None, str]:
        """The answer or the fallback, None where there is neither, and what went wrong. until: the loop's time."""
        try:
            return await self._make(call, until), ""
        except NoAnswer as error:
            return self._fallback, f"{error}, {'no fallback' if self._fallback is None else 'fallback taken'}"

    async def _make(self, call: Call, until: float) -> dict[str, Any]:
        body = msgspec.json.encode({
            "request": self._request.name, "id": call.id, "from": call.caller, "to": call.called,
            "variables": call.variables})
        left = until - asyncio.get_running_loop().time()
        return _members(await self.client.post(
            self._request.url, body, {"Content-Type": "application/json", **signed(self._key, body, int(time()))},
            deadline=min(self._request.timeout, left), limit=self._request.body_limit))


def _members(text: bytes) -> dict[str, Any]:
    """A JSON object that the worker can be told (msgpack has 64 bits for an integer)."""
    try:
        found = msgspec.json.decode(text)
    # A number out of range is a ValidationError, a wrong byte a UnicodeDecodeError, and both are ValueErrors.
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise NoAnswer("not JSON") from None
    if not isinstance(found, dict):
        raise NoAnswer("not a JSON object")
    _check(found, DEPTH)
    return found


def _check(value: Any, levels: int) -> None:
    if isinstance(value, dict | list):
        if not levels:
            raise NoAnswer(f"more than {DEPTH} levels")
        for inner in value.values() if isinstance(value, dict) else value:
            _check(inner, levels - 1)
    elif isinstance(value, int) and value not in _INTEGERS:
        raise NoAnswer("an integer of more than 64 bits")
