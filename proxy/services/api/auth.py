"""Who may use the API: whoever has a token; without tokens, which is for loopback only, no web page of a stranger.
Context by reference may be open to more, and to them alone.

Stands in front of everything else and reads no body.
"""
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from proxy.services.services import Redeemers

from .problems import MEDIA_TYPE, problem

OPEN = ("/health/live", "/health/ready")
"""Paths that need no token."""
_CONTEXT = re.compile(r"/v1/context/[^/]*")
_POLICY_VIOLATION = 1008


class Guard:
    """tokens(): those that are good now. redeemers(): who may redeem context by reference without one of them."""

    def __init__(self, app: ASGIApp, tokens: Callable[[], list[bytes]], redeemers: Callable[[], Redeemers]):
        self._app = app
        self._tokens = tokens
        self._redeemers = redeemers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind: str = scope["type"]
        if kind in ("http", "websocket") and scope["path"] not in OPEN:
            headers = {name.lower(): value for name, value in scope["headers"]}
            tokens = self._tokens()
            given = headers.get(b"authorization", b"")
            if tokens and not _bears(given, tokens) and not self._redeems(kind, scope, given):
                await _refuse(kind, 401, "expected `Authorization: Bearer` with a token of this edge", send)
                return
            if not tokens and (why := _strange(headers)):
                await _refuse(kind, 403, why, send)
                return
        await self._app(scope, receive, send)

    def _redeems(self, kind: str, scope: Scope, given: bytes) -> bool:
        if kind != "http" or scope.get("method") != "GET" or not _CONTEXT.fullmatch(scope["path"]):
            return False
        redeemers = self._redeemers()
        return _bears(given, redeemers.tokens) or _is_in(scope["client"], redeemers.prefixes)


def _is_in(client: tuple[str, int] | None, prefixes: list[IPv4Network | IPv6Network]) -> bool:
    """Whether a peer's address, as its connection has it, is in one of the prefixes."""
    if client is None or not prefixes:
        return False
    address = ipaddress.ip_address(client[0].partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in prefix for prefix in prefixes)


def _bears(header: bytes, tokens: list[bytes]) -> bool:
    """Compared in a time that tells neither which token is near nor how long they are."""
    scheme, _, found = header.partition(b" ")
    given = hashlib.sha256(found.strip()).digest()
    good = False
    for token in tokens:
        good |= hmac.compare_digest(given, hashlib.sha256(token).digest())
    return good and scheme.lower() == b"bearer"


def _strange(headers: dict[bytes, bytes]) -> str:
    """A browser says where its page is from, and by which name it found us: a name of a stranger's may lead to
    127.0.0.1 (DNS rebinding)."""
    host = headers.get(b"host", b"").decode("latin-1")
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name.lower() != "localhost":
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return "expected an address or localhost as Host, as no tokens are configured"
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1") not in (f"http://{host}", f"https://{host}"):
        return "requests from other web pages need a token"
    return ""


async def _refuse(kind: str, status: int, detail: str, send: Send) -> None:
    messages: list[Any]
    if kind == "websocket":
        messages = [{"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": detail[:120]}]
    else:
        body = msgspec.json.encode(problem(status, detail))
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        messages = [{"type": "http.response.start", "status": status, "headers": headers},
                    {"type": "http.response.body", "body": body}]
    for message in messages:
        await send(message)
