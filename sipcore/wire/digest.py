"""Digest authentication on the wire: challenges and credentials, read, written and computed (RFC 7616, RFC 8760).

    Digest realm="x", nonce="y", qop="auth,auth-int", algorithm=SHA-256     a challenge: WWW-, Proxy-Authenticate
    Digest username="u", realm="x", nonce="y", uri="sip:x", response=...    credentials: (Proxy-)Authorization

A value that can be read in two ways is not read at all: quotes that do not end, a parameter that stands twice, a nonce
count that is no eight hex digits. What is read is bounded, whoever it came from, before it is looked at.

Python, as it runs at most once a call; 25 us for an answer with both hashes.
"""
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from sipcore.base.errors import MalformedMessage

MOST_BYTES = 4096
"""Of one header value."""
MOST_PARAMETERS = 32
MOST_CHALLENGES = 8
"""Of one response."""

HASHES: Mapping[str, Callable[[bytes], str]] = {
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
}
"""Hash functions by the name of their algorithm, the strongest first."""
SIZES = {64: "SHA-256", 32: "MD5"}
"""Which algorithm has hashes of so many hex digits."""

_TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"
# token, or what else stands there without quotes: a URI, a hash.
_PARAMETER = re.compile(
    rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",;]+))[ \t]*(?:,|$)', re.DOTALL)
_SCHEME = re.compile(rf"[ \t]*({_TOKEN})[ \t]+(?![ \t=])")
_BLANK = re.compile(r"[ \t,]*")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_COUNT = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a server asks for. algorithm: one of HASHES; session: its `-sess` form; qop: what it offers, empty where it
    is too old to know of any (RFC 2069)."""

    realm: str
    nonce: str
    algorithm: str = "MD5"
    session: bool = False
    qop: tuple[str, ...] = ("auth",)
    opaque: str | None = None
    stale: bool = False

    def render(self) -> str:
        parts = [f"realm={_quoted(self.realm)}", f"nonce={_quoted(self.nonce)}"]
        if self.opaque is not None:
            parts.append(f"opaque={_quoted(self.opaque)}")
        if self.stale:
            parts.append("stale=true")
        parts.append(f"algorithm={_named(self.algorithm, self.session)}")
        if self.qop:
            parts.append(f'qop="{",".join(self.qop)}"')
        return "Digest " + ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a client answers with. count: the nonce count, 0 where there is none (then qop and cnonce are empty)."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str = "MD5"
    session: bool = False
    qop: str = ""
    cnonce: str = ""
    count: int = 0
    opaque: str | None = None

    def render(self) -> str:
        parts = [f"username={_quoted(self.username)}", f"realm={_quoted(self.realm)}", f"nonce={_quoted(self.nonce)}",
                 f"uri={_quoted(self.uri)}", f'response="{self.response}"',
                 f"algorithm={_named(self.algorithm, self.session)}"]
        if self.qop:
            parts += [f"cnonce={_quoted(self.cnonce)}", f"qop={self.qop}", f"nc={self.count:08x}"]
        if self.opaque is not None:
            parts.append(f"opaque={_quoted(self.opaque)}")
        return "Digest " + ", ".join(parts)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _named(algorithm: str, session: bool) -> str:
    return f"{algorithm}-sess" if session else algorithm


# --- reading

def _schemes(value: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each scheme of a value with its parameters, names in lower case. Raises MalformedMessage."""
    if len(value) > MOST_BYTES:
        raise MalformedMessage("authentication header too long")
    if _CONTROL.search(value):
        raise MalformedMessage("control character in an authentication header")
    at = 0
    while at < len(value):
        scheme = _SCHEME.match(value, at)
        if scheme is None:
            raise MalformedMessage("authentication header without a scheme")
        at = scheme.end()
        found: dict[str, str] = {}
        while at < len(value):
            blank = _BLANK.match(value, at)
            at = blank.end() if blank else at
            parameter = _PARAMETER.match(value, at)
            if parameter is None:
                if at < len(value) and not _SCHEME.match(value, at):
                    raise MalformedMessage("authentication parameter malformed")
                break
            at = parameter.end()
            name = parameter[1].lower()
            if name in found:
                raise MalformedMessage("authentication parameter repeated")
            if len(found) == MOST_PARAMETERS:
                raise MalformedMessage("too many authentication parameters")
            found[name] = parameter[3] if parameter[2] is None else _ESCAPED.sub(r"\1", parameter[2])
        yield scheme[1].lower(), found


def _algorithm(found: dict[str, str]) -> tuple[str, bool]:
    """Name and whether it is the session form; an unknown one as it stands there."""
    text = found.get("algorithm", "MD5").upper()
    session = text.endswith("-SESS")
    return text.removesuffix("-SESS"), session


def _of(found: dict[str, str], name: str) -> str:
    value = found.get(name)
    if value is None:
        raise MalformedMessage(f"no {name} in an authentication header")
    return value


def parse_challenges(value: str) -> list[Challenge]:
    """The digest challenges in the value of one WWW-Authenticate or Proxy-Authenticate; other schemes, and algorithms
    that are not in HASHES, are left out (RFC 8760 2.3). Raises MalformedMessage."""
    challenges = []
    for scheme, found in _schemes(value):
        algorithm, session = _algorithm(found)
        if scheme != "digest" or algorithm not in HASHES:
            continue
        offered = tuple(one.strip().lower() for one in found.get("qop", "").split(",") if one.strip())
        challenges.append(Challenge(
            realm=_of(found, "realm"), nonce=_of(found, "nonce"), algorithm=algorithm, session=session, qop=offered,
            opaque=found.get("opaque"), stale=found.get("stale", "").lower() == "true"))
    return challenges


def parse_credentials(value: str) -> Credentials | None:
    """Credentials in the value of one Authorization or Proxy-Authorization; None where its scheme is not Digest.
    Raises MalformedMessage."""
    schemes = list(_schemes(value))
    if len(schemes) != 1:
        raise MalformedMessage("authentication header with several schemes")
    scheme, found = schemes[0]
    if scheme != "digest":
        return None
    algorithm, session = _algorithm(found)
    qop = found.get("qop", "").lower()
    count = 0
    if qop:
        text = _of(found, "nc")
        if not _COUNT.fullmatch(text):
            raise MalformedMessage("nonce count malformed")
        count = int(text, 16)
    return Credentials(
        username=_of(found, "username"), realm=_of(found, "realm"), nonce=_of(found, "nonce"), uri=_of(found, "uri"),
        response=_of(found, "response").lower(), algorithm=algorithm, session=session, qop=qop,
        cnonce=_of(found, "cnonce") if qop else "", count=count, opaque=found.get("opaque"))


# --- computing

def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def ha1_of(algorithm: str, username: str, realm: str, password: str) -> str:
    """H(username:realm:password) (RFC 7616 3.4.2): as good as the password, in that realm."""
    return HASHES[algorithm](_raw(f"{username}:{realm}:{password}"))


def is_hash(text: str) -> bool:
    """Whether a text (lower case) can be a hash of one of the algorithms."""
    return len(text) in SIZES and _HEX.fullmatch(text) is not None


def response_of(credentials: Credentials, ha1: str, method: str, body: bytes) -> str:
    """The response that the credentials must have (RFC 7616 3.4.1). ha1: for their algorithm, which must be one of
    HASHES; body: of the request, for auth-int."""
    hashed = HASHES[credentials.algorithm]
    nonce, cnonce = credentials.nonce, credentials.cnonce
    if credentials.session:
        ha1 = hashed(_raw(f"{ha1}:{nonce}:{cnonce}"))
    about = f"{method}:{credentials.uri}"
    if credentials.qop == "auth-int":
        about += f":{hashed(body)}"
    ha2 = hashed(_raw(about))
    if not credentials.qop:
        return hashed(_raw(f"{ha1}:{nonce}:{ha2}"))
    return hashed(_raw(f"{ha1}:{nonce}:{credentials.count:08x}:{cnonce}:{credentials.qop}:{ha2}"))


def choose(challenges: Iterable[Challenge], algorithms: Iterable[str] = HASHES) -> Challenge | None:
    """Of a realm's challenges the one to answer: the first that can be done, as whoever asks puts first what it likes
    best (RFC 8760 2.4); its algorithm one of `algorithms`. None for none."""
    known = list(algorithms)
    return next((one for one in challenges if one.algorithm in known
                 and ({"auth", "auth-int"} & set(one.qop) or not (one.qop or one.session))), None)


def answer(challenge: Challenge, username: str, ha1: str, method: str, uri: str, body: bytes, *, cnonce: str,
           count: int = 1) -> Credentials:
    """Credentials for a challenge. auth-int only where the server wants nothing less.

    cnonce: a new random text; count: how often its nonce is used, with this request.
    """
    qop = "" if not challenge.qop else "auth" if "auth" in challenge.qop else "auth-int"
    empty = Credentials(
        username=username, realm=challenge.realm, nonce=challenge.nonce, uri=uri, response="",
        algorithm=challenge.algorithm, session=challenge.session, qop=qop,
        cnonce=cnonce if qop else "", count=count if qop else 0, opaque=challenge.opaque)
    return finished(empty, ha1, method, body)


def finished(empty: Credentials, ha1: str, method: str, body: bytes) -> Credentials:
    """Credentials with their response."""
    return Credentials(
        username=empty.username, realm=empty.realm, nonce=empty.nonce, uri=empty.uri,
        response=response_of(empty, ha1, method, body), algorithm=empty.algorithm, session=empty.session,
        qop=empty.qop, cnonce=empty.cnonce, count=empty.count, opaque=empty.opaque)
