"""What `sipedge check` says about sizes: each route, REFER rule and transfer action with a sample call.

Sizes come from Request.size_with, so sipcore.stack.plan has to be loaded, with the listeners' addresses.
"""
from dataclasses import dataclass

from proxy.config import Config
from sipcore.stack.verdict import Request

from .acl import UNLISTED
from .drafts import Draft, Received
from .engine import Policy, Way
from .fragmentation import fit
from .headers import Setter
from .preview import budget_preview, no_way_by_tcp, policy_remarks
from .refer_to import parse_refer_to
from .references import PRETENDED
from .routing import LOCAL
from .samples import SAMPLE_REQUEST, SAMPLE_SDP, SAMPLE_VALUE
from .targets import Targets
from .transfers import Rule
from .upstreams import Peer


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the outline."""

    path: str
    """`route[0]`, `refer[0]` or `transfer[0]`."""
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
    """A line for each route and method, for each REFER rule that forwards, as the first group that it is for would
    use it, and for each request of each transfer action."""
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
                lines.append(_line(config, f"route[{index}]", f"{method} to {route.to}", request, way.draft(request),
                                   way.peer))
    for index, refer in enumerate(config.refer):
        if refer.action == "forward":
            rule = Rule.compiled(config, refer, policy.peers, policy.internal, from_trusted=True)
            request = _sample("REFER", rule.injection.setters, in_dialog=True)
            draft = rule.draft(request, parse_refer_to(request.headers("Refer-To")))
            lines.append(_line(config, f"refer[{index}]", f"REFER as {refer.upstream or 'request-uri'} wants it",
                               request, draft, rule.peer))
    targets = Targets(config, policy.peers)
    for index, action in enumerate(config.transfers):
        lines += [Line(f"transfer[{index}]", f'{one.method} of {action.mode} "{action.name}"', one.size, one.limit,
                       one.headers, one.steps, one.remarks)
                  for one in budget_preview(config, action, targets=targets)]
    return lines


def _sample(method: str, setters: tuple[Setter, ...], *, in_dialog: bool) -> Request:
    """A request of a usual size, with a value for each X-header that a template reads."""
    body = SAMPLE_SDP if method == "INVITE" else ""
    wanted = dict.fromkeys(variable for setter in setters for _, variable, _ in setter.template.pieces
                           if variable.startswith("X-"))
    more = "".join(f"{name}: {SAMPLE_VALUE}\n" for name in wanted)
    more += "Content-Type: application/sdp\n" if body else "Refer-To: <sip:2001@198.51.100.5:5060>\n"
    text = SAMPLE_REQUEST.format(method=method, to_tag=";tag=9fxced76sl" if in_dialog else "", more=more,
                           length=len(body.replace("\n", "\r\n")))
    return Request.parse((text + body).replace("\n", "\r\n").encode(), in_dialog=in_dialog)


def _line(config: Config, path: str, what: str, request: Request, draft: Draft, peer: Peer) -> Line:
    received = Received(request, draft)
    _, size = received.build(keep=len(draft.filled), instead=None, compact=False, body=None)
    outcome = fit(received, peer.settings, peer.budget, no_tcp=no_way_by_tcp(config, peer.settings), keeper=PRETENDED)
    steps = outcome.steps
    if steps and not outcome.refused:
        steps = [*steps, f"then {outcome.size:,} bytes"]
    return Line(path, what, size, peer.budget.limit, tuple(header.name for header in draft.filled), tuple(steps),
                policy_remarks(config, peer.settings))
