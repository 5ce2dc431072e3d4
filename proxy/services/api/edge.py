"""The edge itself: its access list, its upstreams, its configuration, and how it is."""
import asyncio
from pathlib import Path
from typing import Annotated

from litestar import Controller, Request, Response, delete, get, post
from litestar.datastructures import State
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import Parameter

from proxy import load
from proxy.config import ConfigError
from proxy.config.errors import dotted
from proxy.events import ListRegistrations, ListUpstreams
from proxy.policy.entries import Entry
from proxy.services.access import BadEntry
from proxy.services.services import Services

from .models import (
    AccessEntry,
    AccessGroup,
    AccessList,
    Checked,
    Finding,
    Health,
    NewEntry,
    RegistrationList,
    Reloaded,
    UpstreamList,
    UpstreamState,
)
from .problems import FieldError, Refusal, checked, refusals

Here = Annotated[bool, Parameter(description="Also try the media addresses and folders on this machine.")]


EntryId = Annotated[str, Parameter(description="As returned when it was made.")]


class _TextOperation(Operation):
    """The body is a text, not JSON."""

    def __post_init__(self) -> None:
        text = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))
        self.request_body = RequestBody(content={"application/toml": text}, required=True)


class UpstreamsController(Controller):
    path = "/v1/upstreams"
    tags = ("edge",)

    @get(summary="List the upstreams", responses=refusals(503))
    async def list_upstreams(self, services: Services) -> UpstreamList:
        """With the calls up over each, of all workers, and the state of each target."""
        workers = range(services.config.process.workers)
        replies = await asyncio.gather(*(services.workers.ask(number, ListUpstreams(ask=0)) for number in workers))
        states = [state for reply in replies for state in checked(reply).targets]
        up = [reply.upstreams for reply in replies]
        return UpstreamList([
            UpstreamState(one.name, tuple(target.address for target in one.targets),
                          sum(counts.get(one.name, 0) for counts in up), one.max_calls,
                          [state for state in states if state.upstream == one.name])
            for one in services.config.upstreams])


class RegistrationsController(Controller):
    path = "/v1/registrations"
    tags = ("edge",)

    @get(summary="List the edge's own registrations", responses=refusals(503))
    async def list_registrations(self, services: Services) -> RegistrationList:
        """Where the edge registers itself, and what came of it."""
        # The first worker registers for all.
        return RegistrationList(checked(await services.workers.ask(0, ListRegistrations(ask=0))).registrations)


class AccessController(Controller):
    path = "/v1/access"
    tags = ("edge",)

    @get(summary="List the access list", responses=refusals())
    async def list_access(self, services: Services) -> AccessList:
        """The groups of the configuration that runs, and the entries beside it; whoever is in none is unlisted."""
        return AccessList([AccessGroup(group.name, group.action, group.listeners, group.addresses, group.trusted)
                           for group in services.config.groups],
                          [_shown(entry, problem) for entry, problem in services.access.all()])

    @post(summary="Add an entry to the access list", status_code=201, responses=refusals(409, 413, 422, 503))
    async def add_entry(self, services: Services, data: NewEntry) -> Response[AccessEntry]:
        """An address or prefix for a group of the configuration, in effect at once; it survives restarts."""
        try:
            entry = await services.access.add(data.group, data.prefix, data.note, data.expires)
        except BadEntry as bad:
            status, field, why = bad.args
            raise Refusal(status, why, [FieldError(field, why)] if field else ()) from None
        return Response(_shown(entry), status_code=201, headers={"Location": f"/v1/access/{entry.id}"})

    @get("/{entry_id:str}", summary="Show an entry of the access list", responses=refusals(404))
    async def show_entry(self, services: Services, entry_id: EntryId) -> AccessEntry:
        """One that is over is gone."""
        found = next((one for one in services.access.all() if one[0].id == entry_id), None)
        if found is None:
            raise Refusal(404, f"the access list has no entry {entry_id}")
        return _shown(*found)

    @delete("/{entry_id:str}", summary="Delete an entry of the access list", status_code=204,
            responses=refusals(404, 503))
    async def delete_entry(self, services: Services, entry_id: EntryId) -> None:
        """What begins from then on finds it gone; calls that are up stay."""
        if not await services.access.delete(entry_id):
            raise Refusal(404, f"the access list has no entry {entry_id}")


def _shown(entry: Entry, problem: str = "") -> AccessEntry:
    return AccessEntry(entry.id, entry.group, entry.prefix, entry.note, entry.created, entry.expires, problem)


class ConfigurationController(Controller):
    path = "/v1/configuration"
    tags = ("edge",)

    @post("/check", summary="Check a configuration", status_code=200, operation_class=_TextOperation,
          responses=refusals(413))
    async def check(self, services: Services, request: Request[None, None, State], here: Here = True) -> Checked:
        """The text of a configuration file: everything that is wrong with it. What runs is not touched."""
        try:
            text = (await request.body()).decode()
        except UnicodeDecodeError as error:
            raise Refusal(400, f"the body is not UTF-8 at byte {error.start}") from None
        try:
            await asyncio.to_thread(load.check, text, Path(services.config.file), here=here)
        except ConfigError as error:
            return Checked(False, [Finding(dotted(one.path), one.text, one.line) for one in error.problems])
        return Checked(True, [])

    @post("/reload", summary="Read the configuration file again", status_code=200, responses=refusals(409, 503))
    async def reload(self, services: Services) -> Reloaded:
        """What SIGHUP does: a file that is not good is refused, and what runs stays."""
        epoch, error = await services.reload()
        if error:
            raise Refusal(409, error)
        return Reloaded(epoch)


class HealthController(Controller):
    path = "/health"
    tags = ("edge",)

    @get("/live", summary="Liveness", security=[{}], responses=refusals())
    async def live(self) -> Health:
        """The process answers. Needs no token."""
        return Health("ok")

    @get("/ready", summary="Readiness", security=[{}], responses=refusals(503))
    async def ready(self, services: Services) -> Response[Health]:
        """Every worker is there. Needs no token; records that wait for the database do not make the edge unready."""
        up = services.workers.up
        missing = sorted(set(range(services.config.process.workers)) - set(up))
        if missing:
            raise Refusal(503, f"workers {missing} are not there")
        return Response(Health("ok", up, "behind" if services.records.behind else "ok", services.records.behind))
