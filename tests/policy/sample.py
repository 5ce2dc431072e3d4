"""A small edge and the requests that the tests of the policy put to it."""
import sipcore.stack.plan  # noqa: F401  (gives Request its size_with)
from proxy.config import decode
from proxy.policy.engine import Policy
from proxy.policy.references import LENGTH, NOBODY, Keeper, Token
from proxy.policy.validate import problems_of
from sipcore.stack.verdict import Request, Verdict

BASE = """\
[[listener]]
name = "lan"
bind = "udp:127.0.0.1:5060"
[[group]]
name = "agents"
addresses = ["127.0.0.3"]
methods = ["INVITE", "OPTIONS", "REFER"]
[[group]]
name = "callers"
addresses = ["127.0.0.2"]
[[group]]
name = "inside"
addresses = ["127.0.0.4"]
trusted = true
"""
AGENTS, CALLERS, INSIDE, UNLISTED = 0, 1, 2, -1

PBX = """\
[[upstream]]
name = "pbx"
targets = [{address = "127.0.0.4:5070"}]
"""

ANY = "[[refer]]\n"
"""A rule for every target."""

REFERENCE = """\
[reference]
key_env = "CONTEXT_KEYS"
[api]
bind = "127.0.0.1:8080"
"""
"""What the step `reference` needs."""

SDP = """\
v=0
o=- 1 1 IN IP4 192.0.2.1
s=-
c=IN IP4 192.0.2.1
t=0 0
m=audio 4000 RTP/AVP 0 8 96 101
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
"""


class Shelf:
    """A Keeper: what is kept stands in `kept` by the token that is sent. full: why nothing is kept."""

    def __init__(self, full: str = ""):
        self.full = full
        self.made: list[str] = []
        self.kept: dict[str, dict[str, str]] = {}

    def make(self) -> tuple[str, Token]:
        text = f"{len(self.made):0{LENGTH}}"
        self.made.append(text)
        return text, Token(text, 1)

    def keep(self, token: Token, headers: dict[str, str]) -> str:
        if not self.full:
            self.kept[token.name] = headers
        return self.full


def policy(text: str, base: str = BASE, keeper: Keeper = NOBODY) -> Policy:
    return Policy(decode(base + text, problems_of, file="edge.toml"), keeper=keeper)


def request(method: str = "INVITE", uri: str = "sip:2001@127.0.0.1:5060", *lines: str, group: int = CALLERS,
            in_dialog: bool = False, body: str = "", call_id: str = "a84b4c76e66710@192.0.2.1",
            caller: str = "sip:+4930123456@192.0.2.1", called: str = "sip:2001@127.0.0.1") -> Request:
    """A request with these header lines added."""
    text = "\n".join([
        f"{method} {uri} SIP/2.0", "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds;rport",
        "Max-Forwards: 70", f'From: "Ann" <{caller}>;tag=1928301774',
        f"To: <{called}>{';tag=a6c85cf' if in_dialog else ''}", f"Call-ID: {call_id}", f"CSeq: 314159 {method}",
        "Contact: <sip:ann@192.0.2.1:5060>", *lines, *(["Content-Type: application/sdp"] if body else []),
        f"Content-Length: {len(body.encode()) + body.count(chr(10))}", "", body])
    data = text.encode("utf-8", "surrogateescape").replace(b"\n", b"\r\n")
    return Request.parse(data, group=group, in_dialog=in_dialog)


def refer(*targets: str, lines: tuple[str, ...] = (), group: int = AGENTS, in_dialog: bool = True) -> Request:
    return request("REFER", "sip:ann@192.0.2.1:5060", *(f"Refer-To: {target}" for target in targets), *lines,
                   group=group, in_dialog=in_dialog)


def header_set(*headers: str, name: str = "set", on: str = '["INVITE", "REFER"]') -> str:
    """The table of a header set; each header is the inside of an inline table."""
    return f'[[headers]]\nname = "{name}"\non = {on}\n' + f"add = [{', '.join(f'{{{one}}}' for one in headers)}]\n"


def outcome(text: str, message: Request) -> tuple[int, str]:
    """Status and phrase that a request is refused with."""
    verdict = policy(text).decide(message)
    return verdict.status, verdict.reason


def passes(text: str, message: Request) -> bool:
    return policy(text).decide(message).action == Verdict.FORWARD
