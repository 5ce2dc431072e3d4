"""Calls in progress and their transfers: what a worker is told, and what it says of them."""
import time
from typing import Annotated

import msgspec
from litestar import Controller, Response, delete, get, patch, post
from litestar.params import Parameter

from proxy.events import (
    Call,
    CancelTransfer,
    Command,
    HangUp,
    ListCalls,
    Reply,
    SetVariables,
    ShowCall,
    ShowTransfer,
    StartTransfer,
    Transfer,
    worker_of,
)
from proxy.policy.actions import check_action
from proxy.services import tables
from proxy.services.conversation import Turn as Said
from proxy.services.services import Services

from .models import CallDetail, CallPage, Transcript, TransferStart, Variables
from .problems import FieldError, Refusal, checked, faults, refusals

Limit = Annotated[int, Parameter(ge=1, le=500, description="Most on a page.")]
CallId = Annotated[str, Parameter(description="As listed; no Call-ID of SIP.")]
TransferId = Annotated[str, Parameter(description="As returned by its start.")]
Changes = Annotated[dict[str, str | None], msgspec.Meta(max_length=200)]


async def tell(services: Services, identifier: str, command: Command, what: str, inside: str = "") -> Reply:
    """Have the worker whose call or transfer that is carry out a command; raises Refusal or Unanswered."""
    worker = worker_of(identifier)
    if not 0 <= worker < services.config.process.workers:
        raise Refusal(404, f"no {what} {identifier}")
    return checked(await services.workers.ask(worker, command), inside)


class CallsController(Controller):
    path = "/v1/calls"
    tags = ("calls",)

    @get(summary="List the calls in progress", responses=refusals(503))
    async def list_calls(self, services: Services, after: str = "", limit: Limit = 100) -> CallPage:
        """In the order they began, worker by worker."""
        workers = range(services.config.process.workers)
        start = worker_of(after) if after else 0
        if start not in workers:
            raise Refusal(400, "`after` is no id of a call", [FieldError("after", "expected the id of a call")])
        found: list[Call] = []
        for worker in workers[start:]:
            reply = checked(await services.workers.ask(worker, ListCalls(
                ask=0, after=after if worker == start else "", limit=limit - len(found))))
            found += reply.calls
            if len(found) >= limit or reply.more:
                more = reply.more or worker != workers[-1]
                return CallPage(found, found[-1].id if more and found else "")
        return CallPage(found, "")

    @get("/{call_id:str}", summary="Show a call", responses=refusals(404, 503))
    async def show_call(self, services: Services, call_id: CallId) -> CallDetail:
        """A call and its transfers, the latest last."""
        reply = await tell(services, call_id, ShowCall(ask=0, call=call_id), "call")
        return CallDetail(reply.calls[0], reply.transfers)

    @delete("/{call_id:str}", summary="Hang up", status_code=202, responses=refusals(404, 409, 503))
    async def hang_up(self, services: Services, call_id: CallId) -> None:
        """End a call on all its sides."""
        await tell(services, call_id, HangUp(ask=0, call=call_id), "call")

    @patch("/{call_id:str}/variables", summary="Set variables", responses=refusals(404, 409, 413, 422, 503))
    async def set_variables(self, services: Services, call_id: CallId, data: Changes) -> Variables:
        """Set flow variables; null takes one away. The answer has all of them."""
        reply = await tell(services, call_id, SetVariables(ask=0, call=call_id, variables=data), "call",
                           "variables.")
        return Variables(reply.calls[0].variables if reply.calls else {})

    @post("/{call_id:str}/transcript", summary="Add to the conversation", status_code=204,
          responses=refusals(404, 409, 413, 422, 503))
    async def add_turns(self, services: Services, call_id: CallId, data: Transcript) -> None:
        """What caller and agent said, in order: what extractors and summaries read."""
        await tell(services, call_id, ShowCall(ask=0, call=call_id), "call")
        now = time.time_ns() // 1_000_000
        services.conversations.add(call_id, [Said(turn.role, turn.text, turn.at or now) for turn in data.turns])

    @post("/{call_id:str}/transfer", summary="Start a transfer", status_code=202,
          responses=refusals(404, 409, 413, 422, 503))
    async def start_transfer(self, services: Services, call_id: CallId, data: TransferStart) -> Response[Transfer]:
        """By the name of an action or by a whole one. `Location` is where its outcome will be."""
        if isinstance(data.action, str):
            known = services.actions.get(data.action)
            if known is None:
                raise Refusal(422, f'no transfer action is called "{data.action}"',
                              [FieldError("action", "expected the name of an action")])
            action = known[0]
        else:
            action = data.action
            if found := check_action(services.config, action, saved=True):
                raise faults(422, "the action cannot be carried out", found, "action")
        reply = await tell(services, call_id, StartTransfer(
            ask=0, call=call_id, action=msgspec.msgpack.encode(action), target=data.target, variables=data.variables),
            "call")
        transfer = reply.transfers[0]
        return Response(transfer, headers={"Location": f"/v1/transfers/{transfer.id}"}, status_code=202)


class TransfersController(Controller):
    path = "/v1/transfers"
    tags = ("calls",)

    @get("/{transfer_id:str}", summary="Show a transfer", responses=refusals(404, 503))
    async def show_transfer(self, services: Services, transfer_id: TransferId) -> Transfer:
        """As it is now, or its record."""
        try:
            reply = await tell(services, transfer_id, ShowTransfer(ask=0, transfer=transfer_id), "transfer")
        except Refusal as refusal:
            if refusal.problem.status != 404 or worker_of(transfer_id) < 0:
                raise
            found = await services.database.one(tables.transfers, transfer_id)
            if found is None:
                raise
            return msgspec.json.decode(found, type=Transfer)
        return reply.transfers[0]

    @delete("/{transfer_id:str}", summary="Cancel a transfer", status_code=202, responses=refusals(404, 409, 503))
    async def cancel_transfer(self, services: Services, transfer_id: TransferId) -> None:
        """Ask for it to stop; what becomes of it is its outcome."""
        await tell(services, transfer_id, CancelTransfer(ask=0, transfer=transfer_id), "transfer")
