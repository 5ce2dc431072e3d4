"""Digest authentication asked of peers, by rule (RFC 3261 22, RFC 7616, RFC 8760).

A request without good credentials is answered with a challenge, and nothing is kept of it. The answer is the same, and
takes the same work, for a user that there is not and for a wrong password. What passes is used once: a nonce with a
count that was there before is stale.

The `uri` of credentials is part of their hash but not compared with the request URI, which proxies on the way may have
rewritten (22.4 leaves that open): a nonce count that passes only once is what keeps them from being used again.

Cost: 30 us for a request that passes, 15 for one that gets a challenge.
"""
import hmac
import os
from collections import Counter
from collections.abc import Callable, Mapping

from proxy.config import Config, Realm
from proxy.config.users import Hashes
from sipcore.base.errors import MalformedMessage
from sipcore.stack.verdict import Request, Verdict
from sipcore.wire.digest import Challenge, Credentials, parse_credentials, response_of

from .attempts import Attempts
from .nonces import Nonces
from .refusals import Refused

Users = Mapping[str, Hashes]

MOST_LINES = 8
"""Authorization headers of a request that are looked at."""


class Asked(Refused):
    """A request is answered with a challenge."""

    def __init__(self, status: int, reason: str, note: str, headers: bytes = b""):
        super().__init__(status, reason, note)
        self.headers = headers

    @property
    def verdict(self) -> Verdict:
        return Verdict(action=Verdict.REJECT, status=self.status, reason=self.reason, note=self.note,
                       headers=self.headers)


class Asker:
    """One realm: proves who sends a request, or raises Asked."""

    def __init__(self, realm: Realm, users: Users, nonces: Nonces, attempts: Attempts, counters: Counter[str],
                 on_blocked: Callable[[str], None]):
        self.realm = realm.realm
        self._algorithms = realm.algorithms
        self._qop = ("auth", "auth-int") if realm.integrity else ("auth",)
        self._lifetime = 1000 * realm.nonce_seconds
        self._users = users
        # For whoever is no user: hashes that no answer can meet, so that the work is the same.
        self._nobody = {name: os.urandom(size // 2).hex() for name, size in (("MD5", 32), ("SHA-256", 64))}
        self._nonces = nonces
        self._attempts = attempts
        self._counters = counters
        self._on_blocked = on_blocked

    def prove(self, request: Request, *, proxy: bool) -> str:
        """The name of the user that sends a request. proxy: the edge asks as a proxy (407), else as the end (401).

        Raises Asked with the challenge, 403 after too many wrong answers, 400 where credentials cannot be read.
        """
        credentials = self._credentials(request, proxy)
        host = request.source[0]
        if credentials is None:
            self._counters["auth.challenged"] += 1
            raise self._challenge(request, proxy, stale=False, note="auth: no credentials")
        now = request.now
        if not self._nonces.good(credentials.nonce, now, host, self._lifetime):
            self._counters["auth.stale"] += 1
            raise self._challenge(request, proxy, stale=True, note="auth: nonce stale")
        if self._attempts.blocked(host, now):
            self._counters["auth.blocked"] += 1
            self._on_blocked(host)
            raise Asked(403, "Forbidden", "auth: too many wrong answers")
        known = self._users.get(credentials.username)
        hashes = known if known is not None else self._nobody
        expected = response_of(credentials, hashes[credentials.algorithm], request.method, request.body)
        right = hmac.compare_digest(expected.encode(), credentials.response.encode("utf-8", "surrogateescape"))
        if not right or known is None:
            self._attempts.fail(host, now)
            self._counters["auth.failed"] += 1
            raise self._challenge(request, proxy, stale=False, note="auth: wrong user or password")
        if not self._nonces.use(credentials.nonce, credentials.count, host):
            self._counters["auth.replayed"] += 1
            raise self._challenge(request, proxy, stale=True, note="auth: nonce count used before")
        self._counters["auth.passed"] += 1
        return credentials.username

    def name_in(self, request: Request, *, proxy: bool) -> str:
        """The name in the credentials of a request that has passed; empty for none."""
        try:
            credentials = self._credentials(request, proxy)
        except Asked:
            return ""
        return credentials.username if credentials is not None else ""

    def _credentials(self, request: Request, proxy: bool) -> Credentials | None:
        """Those in this realm that answer a challenge of ours."""
        values = request.headers("Proxy-Authorization" if proxy else "Authorization")
        for value in values[:MOST_LINES]:
            try:
                found = parse_credentials(value)
            except MalformedMessage as error:
                self._counters["auth.malformed"] += 1
                raise Asked(error.status, f"Bad Request - {error}", "auth: malformed") from None
            if (found is not None and found.realm == self.realm and found.algorithm in self._algorithms
                    and not found.session and found.qop in self._qop):
                return found
        return None

    def _challenge(self, request: Request, proxy: bool, *, stale: bool, note: str) -> Asked:
        nonce = self._nonces.make(request.now, request.source[0])
        name = "Proxy-Authenticate" if proxy else "WWW-Authenticate"
        challenges = [Challenge(realm=self.realm, nonce=nonce, algorithm=algorithm, qop=self._qop, stale=stale)
                      for algorithm in self._algorithms]
        lines = "".join(f"{name}: {one.render()}\r\n" for one in challenges)
        return Asked(*((407, "Proxy Authentication Required") if proxy else (401, "Unauthorized")), note,
                     lines.encode())


class Askers:
    """All realms of a configuration, by name. users: by the names of their realms. before: of the configuration that
    this one follows: nonces stay good, and wrong answers stay counted. on_blocked: called with the address of a source
    that goes on answering after too many wrong answers; it has received a nonce there, so it is who it says it is."""

    def __init__(self, config: Config, users: Mapping[str, Users] | None = None, counters: Counter[str] | None = None,
                 before: "Askers | None" = None):
        self.on_blocked: Callable[[str], None] = lambda _: None
        self._nonces: dict[tuple[str, str], Nonces] = {}
        self._attempts: dict[str, Attempts] = {}
        self._realms: dict[str, Asker] = {}
        for realm in config.realms:
            key = realm.name, realm.realm
            nonces = before._nonces.get(key) if before is not None else None
            if nonces is None:
                nonces = Nonces(realm.realm, realm.nonces)
            nonces.resize(realm.nonces)
            attempts = before._attempts.get(realm.name) if before is not None else None
            if attempts is None:
                attempts = Attempts(realm.attempts, realm.attempts_a_minute)
            attempts.burst, attempts.a_minute = realm.attempts, realm.attempts_a_minute
            self._nonces[key], self._attempts[realm.name] = nonces, attempts
            self._realms[realm.name] = Asker(realm, (users or {}).get(realm.name, {}), nonces, attempts,
                                             Counter() if counters is None else counters,
                                             lambda host: self.on_blocked(host))

    def get(self, name: str) -> Asker | None:
        """None for the empty name."""
        return self._realms.get(name)

    @property
    def nonces(self) -> int:
        """Nonces in use."""
        return sum(map(len, self._nonces.values()))
