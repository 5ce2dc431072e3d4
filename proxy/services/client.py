"""Requests to servers that the configuration names: one deadline for all of it, and never more bytes than agreed on.

A `Client` is one connection pool. Whoever talks to a server of its own has one of its own, so that a server that does
not answer holds up nobody else.
"""
import asyncio
import logging
import ssl
from collections.abc import Mapping
from functools import cache

import httpx

from sipcore.base.errors import Fault, SipEdgeError

# They log URLs, which may hold what only the server is to know.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class NoAnswer(SipEdgeError):
    """No good answer came: why, in few words that hold neither the URL nor a key nor anything that the server said.

    http_status: of the answer, 0 where none came.
    """

    fault: Fault = "peer"

    def __init__(self, why: str, http_status: int = 0) -> None:
        super().__init__(why)
        self.http_status = http_status


class Client:
    """connections: most of them at a time; who finds none free waits for one within his deadline."""

    def __init__(self, connections: int = 64):
        self._connections = connections
        self._http: httpx.AsyncClient | None = None
        self._closed = False

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, deadline: float | None = None, limit: int,
        cut: bool = False,
    ) -> bytes:
        """The body of a 2xx answer.

        deadline: seconds, from now on and for everything; None where the caller has one around this. limit: most
        bytes; more are a fault, or with `cut` not waited for. Redirects are not followed, and proxies that the
        environment names are not used: the URL is the only one that was configured. Raises NoAnswer.
        """
        try:
            async with asyncio.timeout(deadline):
                return await self._post(url, body, headers, limit, cut)
        except TimeoutError:
            raise NoAnswer("no answer in time") from None
        # httpx quotes URLs and header values in its errors, so that no text of theirs may be passed on.
        except httpx.HTTPError as error:
            raise NoAnswer(_why(error)) from None
        except (httpx.InvalidURL, httpx.StreamError, ssl.SSLError):
            raise NoAnswer("the request could not be sent") from None

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str], limit: int, cut: bool) -> bytes:
        if self._closed:
            raise NoAnswer("the edge stops or has a new configuration")
        if self._http is None:
            self._http = httpx.AsyncClient(
                # Few bytes may stand for very many in a compressed answer; none is asked for.
                headers={"User-Agent": "sipedge", "Accept-Encoding": "identity"},
                timeout=None, follow_redirects=False, trust_env=False, verify=_trusted(),
                # Many servers close a connection that is idle for 5 s; a request must not cross that on its way.
                limits=httpx.Limits(max_connections=self._connections, max_keepalive_connections=self._connections,
                                    keepalive_expiry=4))
        async with self._http.stream("POST", url, content=body, headers=headers) as response:
            if not response.is_success:
                raise NoAnswer(f"status {response.status_code}", response.status_code)
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise NoAnswer("the answer is compressed", response.status_code)
            got = bytearray()
            async for part in response.aiter_raw():
                got += part
                if len(got) > limit:
                    if cut:
                        break
                    raise NoAnswer(f"the answer has more than {limit} bytes", response.status_code)
            return bytes(got[:limit])

    async def close(self) -> None:
        """Close the connections; requests that are under way fail."""
        self._closed = True
        if self._http is not None:
            await self._http.aclose()


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates that the system trusts: where an operator puts an authority of his own."""
    return ssl.create_default_context()


_REASONS: tuple[tuple[type[httpx.HTTPError], str], ...] = (
    (httpx.ConnectError, "no connection"),
    (httpx.RemoteProtocolError, "the answer is not HTTP, or ends too early"),
    (httpx.LocalProtocolError, "the request could not be sent"),
    (httpx.UnsupportedProtocol, "the URL is neither http nor https"),
    (httpx.NetworkError, "the connection was lost"),
)


def _why(error: httpx.HTTPError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "the server's certificate is not trusted"
        cause = cause.__cause__ or cause.__context__
    return next((why for kind, why in _REASONS if isinstance(error, kind)), "the exchange failed")


def ahead(deadline: float) -> float:
    """When to give a question up that is to be answered within a deadline (s): what is taken in its place is on its
    way before the one who asked stops waiting."""
    return deadline - min(0.1, deadline / 10)


def bearer(key: bytes, name: str) -> dict[str, str]:
    """The Authorization header of a key (RFC 6750 2.1); none without a key.

    Raises ValueError with the name of the key where a header cannot carry it.
    """
    if not key:
        return {}
    if not all(0x21 <= byte <= 0x7E for byte in key):
        raise ValueError(f"the key of {name} has characters that a header cannot carry; expected one line of ASCII")
    return {"Authorization": f"Bearer {key.decode()}"}
