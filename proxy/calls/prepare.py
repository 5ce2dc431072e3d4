"""What a transfer needs before anything is sent, and the requests that carry it: context, headers, caller ID.

Requests of the user's and questions to the language model are asked all at once, and each has its own deadline; an
answer that comes later changes nothing any more.
"""
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxy.calls.table import Event
from proxy.config import Action
from proxy.events import Answer, AskExtractors, Asking, AskRequests, Extracted, Question, SentHeader
from proxy.policy.placement import Plan, Sent, plan_headers
from sipcore.stack.outgoing import address_of

if TYPE_CHECKING:
    from proxy.calls.call import Call
    from proxy.calls.transfer import Transfer
    from proxy.policy.targets import Destination
    from proxy.policy.upstreams import Peer

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Invitation:
    """An INVITE to a target. local, remote: From and To without tags."""

    destination: "Destination"
    local: str
    remote: str
    headers: Headers


@dataclass(frozen=True, slots=True)
class Load:
    """What a request of the edge's own carries, and to whom. target: the URI that its Refer-To is about."""

    plan: Plan
    peer: "Peer"
    target: str = ""


def sent_headers(sent: Iterable[Sent]) -> list[SentHeader]:
    """For the record."""
    return [SentHeader(name=one.name, where=one.where, why=one.why) for one in sent]


def results_of(call: "Call", names: Iterable[str], answer: Answer) -> dict[str, Any] | None:
    """What stands at `results` after requests: as the services process says, or, where it said nothing, from the
    requests' fallbacks. None where that is nothing new."""
    found = answer.values.get("results")
    if isinstance(found, dict):
        return found
    before = call.variables_now().get("results")
    results: dict[str, Any] = dict(before) if isinstance(before, dict) else {}
    data: dict[str, Any] = {}
    for name in names:
        members = call.calls.fallbacks.get(name)
        if members is not None:
            data |= members
            results |= members if call.state == "asking" else {"data": data, name: members}
    return results if data else None


class Preparation:
    """The context of one transfer."""

    def __init__(self, transfer: "Transfer"):
        self.transfer = transfer
        self.extracted: dict[str, str] = {}
        self._open = 0
        self._over = False

    # --- asking

    def begin(self) -> None:
        """Ask what there is to ask; PREPARED comes at once where that is nothing."""
        transfer, call = self.transfer, self.transfer.call
        action: Action = transfer.action
        # One more than the questions, so that answers that come at once find the rest asked.
        self._open = 1
        if action.before:
            seconds = max((one.timeout for one in call.calls.config.requests if one.name in action.before), default=3.0)
            seconds = min(seconds, action.deadline)
            self.ask(AskRequests(ask=0, call=call.struct(), names=list(action.before), deadline=seconds), seconds,
                     self._requested)
        if action.extractors:
            seconds = min(max(one.deadline for one in action.extractors), action.deadline)
            questions = [Question(one.header, one.prompt, one.allowed, min(one.deadline, action.deadline), one.fallback,
                                  one.limit) for one in action.extractors]
            self.ask(AskExtractors(ask=0, call=call.id, questions=questions), seconds, self._extracted)
        transfer.hold.prepare()
        self._one_less()

    def ask(self, question: Asking, seconds: float, then: Callable[[Answer, bytes], None]) -> None:
        self._open += 1

        def answered(answer: Answer, sound: bytes) -> None:
            if not self._over:
                then(answer, sound)
                self._one_less()

        self.transfer.call.calls.ask(question, seconds, answered)

    def end(self) -> None:
        """Take no answer any more."""
        self._over = True

    def _one_less(self) -> None:
        self._open -= 1
        if self._open == 0 and not self._over:
            self.transfer.happen(Event.PREPARED)

    def _requested(self, answer: Answer, sound: bytes) -> None:
        transfer = self.transfer
        results = results_of(transfer.call, transfer.action.before, answer)
        if results is not None:
            transfer.call.variables = {**transfer.call.variables_now(), "results": results}
        transfer.note("requested", answer.error or ", ".join(transfer.action.before))

    def _extracted(self, answer: Answer, sound: bytes) -> None:
        transfer = self.transfer
        found = {one.name: one for one in answer.extracted}
        for one in transfer.action.extractors:
            got = found.get(one.header)
            if got is None:
                got = Extracted(name=one.header, value=one.fallback, source="fallback" if one.fallback else "none",
                                ms=round(one.deadline * 1000), why=answer.error or "no answer in time")
            transfer.extracted.append(got)
            self.extracted[one.header] = got.value
        transfer.note("extracted", ", ".join(f"{one.name}: {one.source}" for one in transfer.extracted))

    # --- requests

    def refer(self, target: str) -> tuple[str, Headers]:
        """The Refer-To value for a target, and the other headers of the REFER. Raises Refused."""
        transfer, call = self.transfer, self.transfer.call
        caller = call.caller
        assert caller is not None
        targets = call.calls.targets
        referee = targets.referee(transfer.action.upstream, caller.far)
        # The caller's server resolves the target itself; a loop back to the edge is refused here all the same.
        destination = targets.resolve(target, upstream=transfer.action.upstream, custom=call.custom, referee=referee,
                                      reach=False, call_id=call.request.call_id)
        plan = self._plan(referee, "REFER", call.calls.trusted(call.group_of(caller))).towards(destination.uri)
        self._carry(Load(plan, referee, destination.uri))
        return plan.refer_to(destination.uri), plan.headers()

    def invitation(self, target: str) -> Invitation:
        """The INVITE to a target. Raises Refused."""
        transfer, call = self.transfer, self.transfer.call
        action = transfer.action
        destination = call.calls.targets.resolve(target, upstream=action.upstream, custom=call.custom,
                                                 call_id=call.request.call_id)
        plan = self._plan(destination.peer, "INVITE", destination.peer.trusted)
        self._carry(Load(plan, destination.peer))
        local, identity = self._caller_id(destination.peer)
        headers = (*identity, *plan.headers())
        return Invitation(destination, local, f"<{destination.uri}>", headers)

    def _plan(self, peer: "Peer", method: str, trusted: bool) -> Plan:
        transfer, call = self.transfer, self.transfer.call
        return plan_headers(transfer.action, self.variables(), self.extracted, peer.settings, method,
                            internal=call.calls.internal, trusted=trusted, carried=transfer.carried)

    def variables(self) -> dict[str, Any]:
        return {**self.transfer.call.variables_now(), **self.transfer.flow}

    def _carry(self, load: Load) -> None:
        self.transfer.load = load
        self.transfer.headers = sent_headers(load.plan.sent())

    def _caller_id(self, peer: "Peer") -> tuple[str, Headers]:
        """From, and the headers that say who calls and for whom the call came first."""
        transfer, call = self.transfer, self.transfer.call
        action = transfer.action
        caller, called = call.caller_address, call.called_address
        match action.caller_id:
            case "caller":
                local = caller
            case "fixed":
                local = address_of(action.caller_uri)
            case _:
                local = called
        headers: list[tuple[str, str]] = []
        if peer.trusted:
            # RFC 3325: between trusted peers alone, and the caller's own only from one.
            asserted = call.request.header("P-Asserted-Identity") if action.caller_id == "caller" else local
            if asserted and (action.caller_id != "caller" or call.calls.trusted(call.group)):
                headers.append(("P-Asserted-Identity", asserted))
                privacy = call.request.header("Privacy") if action.caller_id == "caller" else None
                if privacy is not None:
                    # RFC 3325 7: what the caller wants withheld stays so behind the next hop.
                    headers.append(("Privacy", privacy))
        if action.diversion:
            headers.append(("Diversion", f"{called};reason=unconditional"))
        return local, tuple(headers)
