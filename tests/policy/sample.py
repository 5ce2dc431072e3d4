"""A small edge and the requests that the tests of the policy put to it."""
import sipcore.stack.plan  # noqa: F401  (gives Request its size_with)
from proxy.config import decode
from proxy.policy.engine import Policy
from proxy.policy.validate import problems_of
from sipcore.stack.verdict import Request

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


def policy(text: str, base: str = BASE) -> Policy:
    return Policy(decode(base + text, problems_of, file="edge.toml"))


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
