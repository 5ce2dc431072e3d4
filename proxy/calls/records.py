"""Calls and transfers as others see them: the Structs of proxy.events, made only when somebody wants them."""
import json
from typing import TYPE_CHECKING

from proxy.calls.verdicts import sentence
from proxy.events import Call as CallStruct
from proxy.events import Leg as LegStruct
from proxy.events import Role
from proxy.events import Transfer as TransferStruct
from sipcore.stack.outgoing import uri_of

if TYPE_CHECKING:
    from proxy.calls.call import Call
    from proxy.calls.transfer import Transfer
    from sipcore.stack.leg import Leg

_LOGGED = {"agent": "callee"}
"""What the call log calls a role."""
MOST_TEXT = 256
"""Characters of a text that a stranger chose, as it stands in a record."""


def printable(text: str, most: int = MOST_TEXT) -> str:
    """A text of a peer's without what could move a cursor or forge a line, bytes that are no UTF-8 included."""
    text = text[:most]
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)


def call_struct(call: "Call") -> CallStruct:
    """The call as it stands."""
    wall = call.calls.wall
    request = call.request
    transfer = call.transfer
    return CallStruct(
        id=call.id, state=call.state, began=call.began + wall, answered=call.answered and call.answered + wall,
        ended=call.ended and call.ended + wall, caller=printable(uri_of(request.header("From") or "")),
        called=printable(request.uri), legs=legs(call), variables=call.variables or {},
        transfer=transfer.id if transfer is not None else "", ended_by=call.ended_by, status=call.status,
        reason=printable(call.reason), audio=call.audio or {})


def legs(call: "Call") -> list[LegStruct]:
    """Those that are up; when the call is over, all that it had."""
    if call.state == "ended":
        return list(call.gone)
    found = [leg_struct(call, call.caller, "caller")] if call.caller is not None else []
    if call.peer is not None:
        found.append(leg_struct(call, call.peer, call.peer_role))
    if call.transfer is not None and call.transfer.leg is not None:
        found.append(leg_struct(call, call.transfer.leg, "target"))
    return found


def leg_struct(call: "Call", leg: "Leg", role: Role) -> LegStruct:
    dialog = leg.dialog
    host, port = leg.far[:2]
    return LegStruct(
        role=role, uri=printable(uri_of(dialog.remote)) if dialog is not None else "",
        address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        sip_call_id=printable(dialog.call_id) if dialog is not None else "", state=leg.state,
        codec=call.media.codec(leg),
        upstream=call.calls.upstream_at(leg.far), group=call.calls.group_name(call.group_of(leg)))


def call_figures(call: "Call") -> bytes:
    """What the call log says of the audio, as a JSON value; empty where none went through the edge."""
    if not call.audio:
        return b""
    codec = (call.audio.get("caller") or next(iter(call.audio.values()))).get("codec", "")
    # The codec once, unless a side had another one.
    sides = {_LOGGED.get(role, role): {name: value for name, value in side.items() if name != "codec" or value != codec}
             for role, side in call.audio.items()}
    return json.dumps({"codec": codec, **sides}, separators=(",", ":")).encode()


def transfer_struct(transfer: "Transfer") -> TransferStruct:
    """The transfer as it stands; in its terminal state, the record."""
    status, wall = transfer.status, transfer.call.calls.wall
    targets = transfer.targets
    return TransferStruct(
        id=transfer.id, call=transfer.call.id, action=transfer.action.name, mode=status.mode,
        started_by=transfer.started_by, state=status.state, began=transfer.began + wall,
        ended=transfer.ended and transfer.ended + wall,
        target=printable(targets[transfer.at]) if targets else "", targets=[printable(text) for text in targets],
        accepted=transfer.accepted, status=transfer.sip_status, reason=printable(transfer.reason),
        codes=transfer.codes, steps=transfer.steps, headers=transfer.headers, budget=transfer.budget,
        extracted=transfer.extracted, fell_back=status.fell_back,
        verdict=sentence(status, transfer.attempts, transfer.why) if status.terminal else "")


def transfer_fields(record: TransferStruct, call_id: str) -> bytes:
    """What the call log says of a transfer that has ended, as JSON members. call_id: of the call's first INVITE."""
    fields = {"event": "transfer", "call_id": printable(call_id), "call": record.call, "transfer": record.id,
              "mode": record.mode, "action": record.action, "by": "callee" if record.started_by == "refer" else "api",
              "target": record.target, "outcome": record.state, "status": record.status, "verdict": record.verdict}
    return json.dumps({name: value for name, value in fields.items() if value != ""},
                      separators=(",", ":"))[1:-1].encode()
