"""Records of calls and transfers that are over, latest first."""
import re
from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy as sa
from litestar import Controller, MediaType, Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Parameter

from proxy.events import Call, Transfer
from proxy.services import tables
from proxy.services.database import Page
from proxy.services.services import Services

from .models import CallRecords, TransferRecords
from .problems import FieldError, Refusal, refusals

Limit = Annotated[int, Parameter(ge=1, le=500, description="Most on a page.")]
After = Annotated[str, Parameter(max_length=100, description="`next` of the page before.")]
Since = Annotated[int, Parameter(ge=0, le=2**53, description="Began at this time or later (ms since 1970).")]
Until = Annotated[int, Parameter(ge=0, le=2**53, description="Began before this time (ms since 1970).")]
# Litestar has another meaning for a parameter of a function that is called `state`.
Outcome = Annotated[Literal["", "completed", "failed", "cancelled", "unknown", "refused"], Parameter(query="state")]
_PRINTABLE = r"^[^\x00-\x1f]*$"
Text = Annotated[str, Parameter(max_length=1024, pattern=_PRINTABLE, description="Exactly this.")]
_CURSOR = re.compile(r"(\d{1,16})-([0-9a-f]{26})", re.ASCII)
FOR_EVER = 2**53


def _cursor(after: str) -> tuple[int, str] | None:
    if not after:
        return None
    found = _CURSOR.fullmatch(after)
    if found is None:
        raise Refusal(400, "`after` is not from a page", [FieldError("after", "expected `next` of the page before")])
    return int(found[1]), found[2]


async def _page(services: Services, table: sa.Table, since: int, until: int, exact: dict[str, Any], after: str,
                limit: int) -> Response[Any]:
    conditions = [table.c[name] == value for name, value in exact.items() if value not in ("", None)]
    if since:
        conditions.append(table.c.began >= since)
    if until < FOR_EVER:
        conditions.append(table.c.began < until)
    return _json(await services.database.find(table, conditions=conditions, after=_cursor(after), limit=limit))


def _json(found: Page | msgspec.Raw) -> Response[Any]:
    """As it stands in the database, not decoded."""
    return Response(msgspec.json.encode(found), media_type=MediaType.JSON)


async def _one(services: Services, table: sa.Table, identifier: str, what: str) -> Response[Any]:
    found = await services.database.one(table, identifier) if identifier.isalnum() else None
    if found is None:
        raise Refusal(404, f"no record of a {what} {identifier}")
    return _json(found)


class RecordsController(Controller):
    path = "/v1/records"
    tags = ("records",)

    @get("/calls", summary="Search the calls", responses=refusals(503) | {
        200: ResponseSpec(CallRecords, generate_examples=False, description="A page, latest first.")})
    async def calls(self, services: Services, since: Since = 0, until: Until = FOR_EVER, caller: Text = "",
                    called: Text = "", ended_by: Text = "",
                    status: Annotated[int | None, Parameter(ge=100, le=699)] = None, after: After = "",
                    limit: Limit = 100) -> Response[Any]:
        """Calls that are over; caller and called are URIs."""
        return await _page(services, tables.calls, since, until,
                           {"caller": caller, "called": called, "ended_by": ended_by, "status": status}, after, limit)

    @get("/calls/{call_id:str}", summary="Show a call's record", responses=refusals(404, 503) | {
        200: ResponseSpec(Call, generate_examples=False, description="The record.")})
    async def call(self, services: Services, call_id: str) -> Response[Any]:
        """The final form of a call."""
        return await _one(services, tables.calls, call_id, "call")

    @get("/transfers", summary="Search the transfers", responses=refusals(503) | {
        200: ResponseSpec(TransferRecords, generate_examples=False, description="A page, latest first.")})
    async def transfers(self, services: Services, since: Since = 0, until: Until = FOR_EVER, call: Text = "",
                        outcome: Outcome = "",
                        mode: Literal["", "blind", "warm", "attended"] = "", action: Text = "", after: After = "",
                        limit: Limit = 100) -> Response[Any]:
        """Transfers that are over, of all calls or of one."""
        return await _page(services, tables.transfers, since, until,
                           {"call": call, "state": outcome, "mode": mode, "action": action}, after, limit)

    @get("/transfers/{transfer_id:str}", summary="Show a transfer's record", responses=refusals(404, 503) | {
        200: ResponseSpec(Transfer, generate_examples=False, description="The record.")})
    async def transfer(self, services: Services, transfer_id: str) -> Response[Any]:
        """The final form of a transfer."""
        return await _one(services, tables.transfers, transfer_id, "transfer")
