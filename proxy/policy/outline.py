"""What `sipedge check` says about sizes: each route and REFER rule with a sample call.

Sizes come from Request.size_with, so sipcore.stack.plan has to be loaded, with the listeners' addresses.
"""
from dataclasses import dataclass

from proxy.config import LATER_STEPS, Config
from sipcore.stack.verdict import Request, Verdict

from .acl import UNLISTED
from .drafts import Draft
from .engine import Policy, Way
from .fragmentation import fit
from .headers import Setter
from .refer_to import parse_refer_to
from .routing import LOCAL
from .transfers import Rule
from .upstreams import Peer

SAMPLE_VALUE = "sample value of a header"

_SDP = """\
v=0
o=sample 3941187203 3941187203 IN IP4 192.0.2.10
s=call
c=IN IP4 192.0.2.10
t=0 0
m=audio 31842 RTP/AVP 96 9 8 0 101
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:9 G722/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
a=sendrecv
"""

_REQUEST = """\
{method} sip:+12025550188@198.51.100.5:5060 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK87f2ac0913d1a77c;rport
Max-Forwards: 70
From: "Sample Caller" <sip:+12025550143@agents.example.com>;tag=a73kszlfl9
To: <sip:+12025550188@pbx.example.net>{to_tag}
Call-ID: 3c26700857a87f8421d04b9c7e55@192.0.2.10
CSeq: 101 {method}
Contact: <sip:sample@192.0.2.10:5060;transport=udp>
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY, INFO, UPDATE, PRACK
Supported: replaces, timer
P-Asserted-Identity: <sip:+12025550143@agents.example.com>
User-Agent: SampleAgent/1.0
{more}Content-Length: {length}

"""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the outline."""

    path: str
    """`route[0]` or `refer[0]`."""
    what: str
    size: int
    limit: int
    headers: tuple[str, ...]
    steps: tuple[str, ...]
    """What the size policy did to the sample; empty where it fits."""
    remarks: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{self.path} {self.what}: {self.size:,} of {self.limit:,} bytes"
        text += f" with {', '.join(self.headers)}" if self.headers else ""
        text += f"; over budget: {', '.join(self.steps)}" if self.steps else ""
        return text + "".join(f" ({remark})" for remark in self.remarks)


def outline(config: Config) -> list[Line]:
    """A line for each route and method, and for each REFER rule that forwards, as the first group that it is for
    would use it."""
    policy = Policy(config)
    lines = []
    names = [group.name for group in config.groups]
    for index, route in enumerate(config.routes):
        group = next((names.index(name) for name in route.groups or names), UNLISTED)
        if route.to == LOCAL or group == UNLISTED:
            continue
        for method in route.methods:
            if method in ("INVITE", "REFER"):
                way = Way(policy, route, group, method)
                request = _sample(method, way.injection.setters, in_dialog=False)
                lines.append(_line(f"route[{index}]", f"{method} to {route.to}", request, way.draft(request), way.peer))
    for index, refer in enumerate(config.refer):
        if refer.action == "forward":
            rule = Rule.compiled(config, refer, policy.peers, policy.internal, from_trusted=True)
            request = _sample("REFER", rule.injection.setters, in_dialog=True)
            lines.append(_line(f"refer[{index}]", f"REFER as {refer.upstream or 'request-uri'} wants it", request,
                               rule.draft(request, parse_refer_to(request.headers("Refer-To"))), rule.peer))
    return lines


def _sample(method: str, setters: tuple[Setter, ...], *, in_dialog: bool) -> Request:
    """A request of a usual size, with a value for each X-header that a template reads."""
    body = _SDP if method == "INVITE" else ""
    wanted = dict.fromkeys(variable for setter in setters for _, variable, _ in setter.template.pieces
                           if variable.startswith("X-"))
    more = "".join(f"{name}: {SAMPLE_VALUE}\n" for name in wanted)
    more += "Content-Type: application/sdp\n" if body else "Refer-To: <sip:2001@198.51.100.5:5060>\n"
    text = _REQUEST.format(method=method, to_tag=";tag=9fxced76sl" if in_dialog else "", more=more,
                           length=len(body.replace("\n", "\r\n")))
    return Request.parse((text + body).replace("\n", "\r\n").encode(), in_dialog=in_dialog)


def _line(path: str, what: str, request: Request, draft: Draft, peer: Peer) -> Line:
    verdict = draft.verdict()
    size = max(request.size_with(verdict, index) for index in range(len(verdict.targets) or 1))
    steps: list[str] = []
    if size > peer.budget.limit:
        outcome = fit(request, draft, peer.settings, peer.budget, size)
        refused = outcome.verdict.action == Verdict.REJECT
        steps = outcome.steps if refused else [*outcome.steps, f"then {outcome.size:,} bytes"]
    policy = peer.settings.size_policy
    remarks = [f"{step} acts in a later version" for step in policy if step in LATER_STEPS]
    if "codecs" in policy and not peer.settings.codecs:
        remarks.append("codecs: no list, the step does nothing")
    return Line(path, what, size, peer.budget.limit, tuple(draft.names), tuple(steps), tuple(remarks))
