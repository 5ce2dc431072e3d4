"""What the edge proves itself with: the credentials of upstreams, and what answers a challenge (RFC 3261 22.2).

Credentials go nowhere but to an address of the upstream that they are configured for, and only in the realm that they
are configured for. Whoever else challenges a request of ours, be it in a trunk's own realm, gets nothing.

An answer is 100 bytes and the texts in it; how long the last one was is remembered for each upstream, so that a request
whose answer is sure to be asked for leaves room for it.
"""
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from proxy.config import Config
from proxy.config.users import Hashes
from sipcore.base.errors import MalformedMessage
from sipcore.stack.outgoing import Outgoing
from sipcore.wire.digest import (
    MOST_CHALLENGES,
    Challenge,
    Credentials,
    answer,
    choose,
    finished,
    parse_challenges,
    parse_credentials,
)
from sipcore.wire.message import Message

from .upstreams import Peer

Header = tuple[str, str]
LINE = len("Proxy-Authorization: \r\n")
_ANSWERS = {"WWW-Authenticate": "Authorization", "Proxy-Authenticate": "Proxy-Authorization"}


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

    def answer(self, to: tuple[str, int], request: Outgoing, response: Message, upstream: int = -1,
               times: int = 0) -> tuple[Header, ...]:
        """The credentials to repeat a request with after a 401 or 407: what it had, and an answer to each challenge
        that there is an account for (RFC 3261 22.3); empty where that is none.

        A response may have challenges of several realms, in both headers whatever its status (16.7 step 7), and several
        of one realm, of which one is answered (RFC 8760 2.4). to: where the request went. upstream: index of the
        upstream that is meant where several have that address. times: how often the request was repeated so far: once
        for each realm, and once more as a nonce may have become stale. Credentials that were refused are not sent
        again, unless their nonce alone was stale.
        """
        peers = sorted(self._at(to), key=lambda one: one.index != upstream)
        sent = {(name, one.realm): one for name, value in request.headers
                if name in _ANSWERS.values() and (one := _credentials(value)) is not None}
        made: dict[tuple[str, str], str] = {}
        asked: set[str] = set()
        for header, name in _ANSWERS.items():
            challenges = _read(response.headers(header))
            for realm in dict.fromkeys(one.realm for one in challenges):
                before = sent.pop((name, realm), None)
                for peer, account in self._accounts_at(peers, realm):
                    challenge = choose([one for one in challenges if one.realm == realm], account.hashes)
                    if challenge is None or (before is not None and not _stale(before, challenge)):
                        continue
                    made[name, realm] = answer(
                        challenge, account.user, account.hashes[challenge.algorithm], request.method, request.uri,
                        request.body, cnonce=secrets.token_hex(8)).render()
                    asked.add(peer)
                    break
        if not made:
            return ()
        for (name, realm), credentials in sent.items():
            # Not challenged this time, so it was right.
            for _, account in self._accounts_at(peers, realm):
                if _is_of(credentials, account):
                    credentials = _renewed(credentials, account, request, spent=True)
                    break
            made[name, realm] = credentials.render()
        if times > len(made):
            return ()
        headers = tuple((name, value) for (name, _), value in made.items())
        for peer in asked:
            self._rooms[peer] = sum(LINE + len(value.encode("utf-8", "surrogateescape")) for _, value in headers)
        return headers

    def renew(self, to: tuple[str, int], request: Outgoing, headers: Iterable[Header], upstream: int = -1, *,
              spent: bool) -> tuple[Header, ...]:
        """Credentials that answered a challenge, for a request that is sent without another one: for its method, URI
        and body. spent: they were sent before, so this is one more use of their nonce (RFC 7616 3.4). Those of no
        account at `to` are left out."""
        peers = sorted(self._at(to), key=lambda one: one.index != upstream)
        made = []
        for name, value in headers:
            credentials = _credentials(value)
            if credentials is None:
                continue
            for _, account in self._accounts_at(peers, credentials.realm):
                if _is_of(credentials, account):
                    made.append((name, _renewed(credentials, account, request, spent=spent).render()))
                    break
        return tuple(made)

    def _accounts_at(self, peers: Iterable[Peer], realm: str) -> Iterator[tuple[str, Account]]:
        """(upstream, account) of those of the upstreams that have one in that realm."""
        for peer in peers:
            account = self._accounts.get((peer.settings.name, realm))
            if account is not None:
                yield peer.settings.name, account

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


def _credentials(value: str) -> Credentials | None:
    """Credentials that a request had; None for none of ours."""
    try:
        return parse_credentials(value)
    except MalformedMessage:
        return None


def _is_of(credentials: Credentials, account: Account) -> bool:
    return credentials.username == account.user and credentials.algorithm in account.hashes


def _renewed(credentials: Credentials, account: Account, request: Outgoing, *, spent: bool) -> Credentials:
    """For a request; where they are spent, with the next count and another cnonce."""
    again = spent and credentials.qop != ""
    return finished(replace(credentials, uri=request.uri, count=credentials.count + again,
                            cnonce=secrets.token_hex(8) if again else credentials.cnonce),
                    account.hashes[credentials.algorithm], request.method, request.body)


def _stale(sent: Credentials, challenge: Challenge) -> bool:
    """Whether credentials were refused for their nonce alone."""
    return challenge.stale and sent.nonce != challenge.nonce
