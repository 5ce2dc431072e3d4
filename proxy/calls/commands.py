"""What the services process can have done with the calls of a worker: the commands of proxy.events.

Each is carried out at once. A worker has a few thousand calls at most, so those that list them may look at all.
"""
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from proxy.calls.call import Call
from proxy.calls.records import transfer_struct
from proxy.calls.starting import start_transfer
from proxy.calls.table import Event
from proxy.calls.transfer import Transfer
from proxy.config import Action
from proxy.events import (
    CancelTransfer,
    HangUp,
    ListCalls,
    ListRegistrations,
    ListUpstreams,
    Reply,
    SavedActions,
    SetVariables,
    ShowCall,
    ShowTransfer,
    StartTransfer,
)
from proxy.policy.context import BadVariable, changed
from proxy.policy.refusals import Refused

if TYPE_CHECKING:
    from proxy.calls.registry import Calls

LONGEST_PAGE = 1000


def obey(calls: "Calls", command: Any) -> Reply:
    """Carry out a command at once; the Reply says what came of it."""
    match command:
        case ListCalls():
            reply = _list(calls, command)
        case ShowCall():
            reply = _with_call(calls, command.call, _shown)
        case HangUp():
            reply = _with_call(calls, command.call, _hung_up)
        case SetVariables():
            reply = _with_call(calls, command.call, lambda call: _set(call, command.variables))
        case StartTransfer():
            reply = _with_call(calls, command.call, lambda call: _start(call, command))
        case ShowTransfer():
            reply = _show(calls, command.transfer)
        case CancelTransfer():
            reply = _cancel(calls, command.transfer)
        case SavedActions():
            reply = _save(calls, command)
        case ListRegistrations():
            reply = Reply(ask=0, registrations=calls.registrations.structs())
        case ListUpstreams():
            reply = Reply(ask=0, upstreams={one.name: calls.stack.calls(index)
                                            for index, one in enumerate(calls.config.upstreams)},
                          targets=calls.watch.states())
        case _:
            reply = Reply(ask=0, status=501, error=f"not a command of calls: {type(command).__name__}")
    reply.ask = command.ask
    return reply


def _list(calls: "Calls", command: ListCalls) -> Reply:
    rest = iter(calls.all)
    # Of a page's last call that has ended meanwhile the place is unknown: begin anew.
    if (last := calls.named.get(command.after)) in calls.all:
        for call in rest:
            if call is last:
                break
    limit = max(1, min(command.limit, LONGEST_PAGE))
    page = [call.struct() for call in islice(rest, limit)]
    return Reply(ask=0, calls=page, more=next(rest, None) is not None)


def _with_call(calls: "Calls", name: str, then: Callable[[Call], Reply]) -> Reply:
    call = calls.named.get(name)
    return then(call) if call is not None else Reply(ask=0, status=404, error="no such call is in progress",
                                                     field="call")


def _with_transfer(calls: "Calls", name: str, then: Callable[[Transfer], Reply]) -> Reply:
    """then: for one of a call in progress; any other one is shown as it ended."""
    for call in calls.all:
        for transfer in (*call.past, call.transfer):
            if transfer is not None and transfer.id == name:
                return then(transfer)
    return Reply(ask=0, status=404, error="no such transfer", field="transfer")


def _show(calls: "Calls", name: str) -> Reply:
    past = calls.past.get(name)
    return Reply(ask=0, transfers=[past]) if past is not None else _with_transfer(
        calls, name, lambda transfer: Reply(ask=0, transfers=[transfer_struct(transfer)]))


def _cancel(calls: "Calls", name: str) -> Reply:
    past = calls.past.get(name)
    return _with_transfer(calls, name, _cancelled) if past is None else Reply(
        ask=0, status=409, error=f"the transfer is {past.state} already", transfers=[past])


def _shown(call: Call) -> Reply:
    transfers = [transfer_struct(transfer) for transfer in call.past]
    if call.transfer is not None:
        transfers.append(transfer_struct(call.transfer))
    return Reply(ask=0, calls=[call.struct()], transfers=transfers)


def _hung_up(call: Call) -> Reply:
    call.end("api")
    return Reply(ask=0, status=202, calls=[call.struct()])


def _set(call: Call, variables: dict[str, str | None]) -> Reply:
    try:
        call.variables = changed(call.variables_now(), variables)
    except BadVariable as bad:
        name, why = bad.args
        return Reply(ask=0, status=422, error=why, field=f"variables.{name}")
    return Reply(ask=0, calls=[call.struct()])


def _start(call: Call, command: StartTransfer) -> Reply:
    try:
        action = msgspec.msgpack.decode(command.action, type=Action)
    except msgspec.MsgspecError as error:
        return Reply(ask=0, status=422, error=str(error), field="action")
    try:
        transfer = start_transfer(call, action, started_by="api", target=command.target,
                                  variables=command.variables)
    except Refused as refused:
        return Reply(ask=0, status=refused.status if refused.status in (409, 422, 503) else 422,
                     error=refused.note or refused.reason, field="target" if command.target else "action")
    except BadVariable as bad:
        name, why = bad.args
        return Reply(ask=0, status=422, error=why, field=f"variables.{name}")
    return Reply(ask=0, status=202, transfers=[transfer_struct(transfer)])


def _cancelled(transfer: Transfer) -> Reply:
    error = f"the transfer is {transfer.status.state} already" if transfer.ended else ""
    transfer.happen(Event.CANCEL)
    if not error and not transfer.ended:
        error = ("it cannot be called back any more: the caller's server is at it, or caller and target are "
                 "being joined")
    return Reply(ask=0, status=409 if error else 200, error=error, transfers=[transfer_struct(transfer)])


def _save(calls: "Calls", command: SavedActions) -> Reply:
    try:
        saved = [msgspec.msgpack.decode(one, type=Action) for one in command.actions]
    except msgspec.MsgspecError as error:
        return Reply(ask=0, status=422, error=str(error), field="actions")
    calls.saved = {action.name: action for action in saved}
    return Reply(ask=0)
