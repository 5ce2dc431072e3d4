"""What the edge proves itself with: the credentials of upstreams, and what answers a challenge (RFC 3261 22.2).

Credentials go nowhere but to an address of the upstream that they are configured for, and only in the realm that they
are configured for. Whoever else challenges a request of ours, be it in a trunk's own realm, gets nothing.

An answer is 100 bytes and the texts in it; how long the last one was is remembered for each upstream, so that a request
whose answer is sure to be asked for leaves room for it.
"""
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from proxy.config import Config
from proxy.config.users import Hashes
from sipcore.base.errors import MalformedMessage
from sipcore.stack.outgoing import Outgoing
from sipcore.wire.digest import MOST_CHALLENGES, Challenge, answer, choose, parse_challenges, parse_credentials

from .upstreams import Peer

Header = tuple[str, str]
LINE = len("Proxy-Authorization: \r\n")


@dataclass(frozen=True, slots=True)
class Account:
    """Who the edge is in a realm of an upstream."""

    user: str
    hashes: Hashes


Accounts = Mapping[tuple[str, str], Account]
"""By the names of upstream and realm."""


class Answers:
    """Answers challenges by the accounts of a configuration."""

    def __init__(self, config: Config, peers: Mapping[str, Peer], accounts: Accounts | None = None):
        self._accounts = accounts or {}
        named = {upstream for upstream, _ in self._accounts}
        self._peers = [peers[one.name] for one in config.upstreams if one.name in named]
        self._rooms: dict[str, int] = {}

    @property
    def any(self) -> bool:
        """Whether there are accounts at all."""
        return bool(self._accounts)

    def answer(self, to: tuple[str, int], request: Outgoing, status: int, values: Iterable[str],
               upstream: int = -1) -> Header | None:
        """The header that answers the challenges in a 401 or 407, None where nothing does.

        to: where the request went. values: of WWW-Authenticate (401) or Proxy-Authenticate (407). upstream: index of
        the upstream that is meant where several have that address. Once for a nonce: credentials that were refused are
        not sent again, unless their nonce alone was stale.
        """
        name = "Authorization" if status == 401 else "Proxy-Authorization"
        challenges = _read(values)
        for peer in sorted(self._at(to), key=lambda one: one.index != upstream):
            for realm in dict.fromkeys(one.realm for one in challenges):
                account = self._accounts.get((peer.settings.name, realm))
                if account is None:
                    continue
                challenge = choose([one for one in challenges if one.realm == realm], account.hashes)
                if challenge is None or _refused(request, name, challenge):
                    continue
                made = answer(challenge, account.user, account.hashes[challenge.algorithm], request.method, request.uri,
                              request.body, cnonce=secrets.token_hex(8)).render()
                self._rooms[peer.settings.name] = LINE + len(made.encode("utf-8", "surrogateescape"))
                return name, made
        return None

    def room(self, to: tuple[str, int], request: Outgoing) -> int:
        """Bytes to keep free in a request for the answer that its peer, which has asked before, will ask for."""
        if not self._rooms or any(name in ("Authorization", "Proxy-Authorization") for name, _ in request.headers):
            return 0
        return max((self._rooms.get(peer.settings.name, 0) for peer in self._at(to)), default=0)

    def _at(self, to: tuple[str, int]) -> list[Peer]:
        """Upstreams with accounts that have this address."""
        return [peer for peer in self._peers if any((one.host, one.port) == to for one in peer.addresses)]


def _read(values: Iterable[str]) -> list[Challenge]:
    """The challenges that can be read; a peer's mistake in one does not hide the others."""
    found: list[Challenge] = []
    for value in values:
        try:
            found += parse_challenges(value)
        except MalformedMessage:
            continue
        if len(found) >= MOST_CHALLENGES:
            break
    return found[:MOST_CHALLENGES]


def _refused(request: Outgoing, name: str, challenge: Challenge) -> bool:
    """Whether the request had credentials for that realm already, and more than their nonce was wrong."""
    for header, value in request.headers:
        if header != name:
            continue
        sent = parse_credentials(value)
        if sent is not None and sent.realm == challenge.realm:
            return not challenge.stale or sent.nonce == challenge.nonce
    return False
