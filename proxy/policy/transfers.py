"""REFER on forwarded calls: forwarded by rule or refused, with headers where the peer reads them."""
from collections.abc import Iterator
from dataclasses import dataclass

from proxy.config import Config, Refer
from sipcore.stack.verdict import Request

from .acl import UNLISTED
from .addresses import Address, same_host, transports
from .drafts import Draft, Injection
from .headers import Patterns
from .refer_to import ReferTo, parse_refer_to
from .refusals import Refused
from .routing import REQUEST_URI, Condition
from .upstreams import Peer

SIP_PORT, SIPS_PORT = 5060, 5061


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, compiled."""

    condition: Condition
    addresses: frozenset[Address] | None
    """Where the target must be; None for anywhere."""
    action: str
    transfer: str
    """Name of the transfer action for `run`."""
    peer: Peer
    names_peer: bool
    injection: Injection
    internal: Patterns

    @classmethod
    def compiled(cls, config: Config, rule: Refer, peers: dict[str, Peer], internal: Patterns, *,
                 from_trusted: bool) -> "Rule":
        peer = peers[rule.upstream or REQUEST_URI]
        sets = [one for one in config.headers if one.name in rule.headers]
        addresses = frozenset(spot for name in rule.targets for address in peers[name].addresses
                              for spot in _spots(address))
        # Where a REFER inside a dialog ends is known when it leaves: the core takes out there what must not reach that
        # peer.
        injection = Injection(sets, "REFER", peer.settings, internal, from_trusted=from_trusted, to_trusted=True)
        return cls(Condition(rule), addresses if rule.targets else None, rule.action, rule.transfer, peer,
                   bool(rule.upstream), injection, internal)

    def matches(self, target: ReferTo) -> bool:
        leads = [self._leads(host, target.port or SIP_PORT) for host in target.hosts]
        if not (any(leads) if self.action == "refuse" else all(leads)):
            return False
        return self.condition.prefix_length(target.number) >= 0 and self.condition.matches_user(target.user)

    def _leads(self, host: str, port: int) -> bool:
        """Whether that is where the rule's targets are."""
        return self.condition.matches_host(host) and (self.addresses is None or Address(host, port) in self.addresses)

    def draft(self, request: Request, target: ReferTo) -> Draft:
        """The REFER as it goes on by this rule. Raises Refused."""
        notes: list[str] = []
        if target.scheme == "tel" and not (self.peer.along_uri or self.peer.uri.keeps or self.peer.uri.tel):
            user = self.peer.uri.user("tel", target.user) or target.user
            target = target.with_uri(self.peer.uri.fill(user, self.peer.members.addresses[0]))
            notes.append("refer: tel: rewritten for the upstream")
        if _has(request, self.injection.hidden):
            notes.append("refer: internal headers taken out")
        cleaned = target.without(self.internal)
        if cleaned is not target:
            notes.append("refer: internal or broken headers taken out of Refer-To")
        replaced = cleaned.without(self.injection.inside)
        if replaced is not cleaned:
            notes.append("refer: headers of Refer-To replaced by those that are set")
        filled, left_out = self.injection.fill(request)
        fields = {**self.peer.verdict, "remove": self.injection.remove}
        return Draft(fields, self.injection, filled, notes + left_out, refer_to=replaced)


class Transfers:
    """What one group may do with REFER."""

    def __init__(self, config: Config, group: int, peers: dict[str, Peer], internal: Patterns):
        self._secure = not transports(config).isdisjoint(("tls", "wss"))
        trusted = group != UNLISTED and config.groups[group].trusted
        self.rules = tuple(Rule.compiled(config, rule, peers, internal, from_trusted=trusted)
                           for rule in config.refer if _applies(config, rule, group))
        custom = config.groups[group].custom_telephony if group != UNLISTED else ""
        self.custom = peers[custom] if custom else None

    def draft(self, request: Request) -> tuple[Draft, Peer, bool]:
        """The REFER as it goes on, the peer whose settings it follows, and whether a rule names that. Raises Refused.
        """
        rule, target = self.rule(request)
        if rule.action == "run":
            # What is only forwarded has no dialog of ours that a transfer could act in.
            raise Refused(603, "Decline", "refer: only a controlled call can be transferred by the edge")
        return rule.draft(request, target), rule.peer, rule.names_peer

    def rule(self, request: Request) -> tuple[Rule, ReferTo]:
        """The rule that acts, and the target that it is for. Raises Refused, also where the rule refuses."""
        target, refusal = self._target(request)
        rule = next((rule for rule in self.rules if rule.matches(target)), None)
        if refusal is not None and (rule is None or rule.action != "run"):
            raise refusal
        if rule is None:
            raise Refused(603, "Decline", "refer: no rule for this target")
        if rule.action == "refuse":
            raise Refused(603, "Decline", "refer: refused by rule")
        return rule, target

    def _target(self, request: Request) -> tuple[ReferTo, Refused | None]:
        """The target, and what refuses it unless a transfer action of the edge's names an upstream for it."""
        target = parse_refer_to(request.headers("Refer-To"))
        if target.uri[:5].lower() == "sips:" and not self._secure:
            raise Refused(416, "SIPS Needs TLS, Which Is Not Available", "Refer-To: sips")
        if target.scheme != "raw":
            return target, None
        if self.custom is None:
            return target, Refused(400, "A Raw Transfer Target Needs Custom Telephony", "refer: raw target")
        address = self.custom.members.addresses[0]
        changed = target.with_uri(f"sip:{target.user}@{address.uri_host}")
        host, port = address.said_at
        return ReferTo(changed.before, changed.uri, changed.after, "sip", target.user, host, port, changed=True), None


def _has(request: Request, names: Patterns) -> bool:
    """Whether a request has one of these headers; of beginnings of names, those of X-headers are seen."""
    return bool(names.patterns) and (any(names.match(name) for name in request.x_headers()) or any(
        request.header(name) is not None for name in names.patterns if not name.endswith("*")))


def _spots(address: Address) -> Iterator[Address]:
    """Where a target can say that it is, to be at an address of an upstream: there, or at the name that led there."""
    if address.place is None:
        yield Address(same_host(address.host), address.port)
    if address.said:
        host, port = address.said_at
        # Without a port DNS says it (RFC 3263 4.2), of sip: and of sips:.
        yield from (Address(same_host(host), one) for one in ((port,) if port else (SIP_PORT, SIPS_PORT)))


def _applies(config: Config, rule: Refer, group: int) -> bool:
    """A rule for all is for all who may begin something; others have to be named."""
    if group == UNLISTED:
        return "unlisted" in rule.groups
    allowed = config.groups[group].action == "allow"
    return config.groups[group].name in rule.groups or (allowed and not rule.groups)
