"""Transfer actions: those of the configuration, and saved ones, which can be made and changed here."""
import asyncio
import re
from typing import Annotated

from litestar import Controller, Response, delete, get, post, put
from litestar.params import Parameter

from proxy.config import Action, Problem
from proxy.config.errors import dotted
from proxy.policy.actions import check_action
from proxy.policy.preview import Preview as Sized
from proxy.policy.preview import budget_preview
from proxy.policy.refusals import Refused
from proxy.services.services import Services

from .models import ActionList, Finding, Preview, PreviewRequest, RequestSize, SavedAction
from .problems import FieldError, Refusal, faults, refusals

Name = Annotated[str, Parameter(description="Of the action.")]
PREVIEW = "preview"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def _problems(services: Services, action: Action) -> list[Problem]:
    found = check_action(services.config, action, saved=True)
    if not _NAME.fullmatch(action.name) or action.name == PREVIEW:
        found = [Problem(("name",), "expected letters, digits, '.', '_' and '-', as it stands in a path"), *found]
    return found


def _check(services: Services, action: Action) -> None:
    if found := _problems(services, action):
        raise faults(422, "the action cannot be saved", found)


class ActionsController(Controller):
    path = "/v1/actions"
    tags = ("actions",)

    @get(summary="List the transfer actions", responses=refusals())
    async def list_actions(self, services: Services) -> ActionList:
        """By name; those of the configuration can only be changed there."""
        return ActionList([_shown(action, saved) for action, saved in services.actions.all()])

    @get("/{name:str}", summary="Show an action", responses=refusals(404))
    async def show_action(self, services: Services, name: Name) -> SavedAction:
        """Of the configuration, or saved."""
        found = services.actions.get(name)
        if found is None:
            raise Refusal(404, f'no transfer action is called "{name}"')
        return _shown(*found)

    @post(summary="Save a new action", status_code=201, responses=refusals(409, 413, 422, 503))
    async def create_action(self, services: Services, data: Action) -> Response[SavedAction]:
        """It can be used at once, by the API and by REFER rules."""
        _check(services, data)
        if not await services.actions.save(data, new=True):
            raise Refusal(409, f'a transfer action is called "{data.name}" already',
                          [FieldError("name", "expected a name that is not taken")])
        return Response(_shown(data, True), status_code=201, headers={"Location": f"/v1/actions/{data.name}"})

    @put("/{name:str}", summary="Change an action", responses=refusals(404, 409, 413, 422, 503))
    async def change_action(self, services: Services, name: Name, data: Action) -> SavedAction:
        """Put this one in its place; transfers that run go on as they began."""
        if data.name != name:
            raise Refusal(422, "an action keeps its name", [FieldError("name", f'expected "{name}"')])
        _refuse_configured(services, name)
        _check(services, data)
        if not await services.actions.save(data, new=False):
            raise Refusal(404, f'no saved transfer action is called "{name}"')
        return _shown(data, True)

    @post("/preview", summary="Preview an action", status_code=200, responses=refusals(413, 422))
    async def preview(self, services: Services, data: PreviewRequest) -> Preview:
        """What is wrong with it, or how big its requests would be with these values; nothing is saved."""
        found = _problems(services, data.action)
        if found:
            return Preview([Finding(dotted(one.path), one.text) for one in found], [])
        try:
            sizes = await asyncio.to_thread(budget_preview, services.config, data.action, dict(data.variables))
        except Refused as error:
            return Preview([Finding("variables", str(error))], [])
        return Preview([], [_size(one) for one in sizes])

    @delete("/{name:str}", summary="Delete an action", status_code=204, responses=refusals(404, 409, 503))
    async def delete_action(self, services: Services, name: Name) -> None:
        """A REFER rule that names it refuses from then on."""
        _refuse_configured(services, name)
        if not await services.actions.delete(name):
            raise Refusal(404, f'no saved transfer action is called "{name}"')


def _size(found: Sized) -> RequestSize:
    return RequestSize("REFER" if found.method == "REFER" else "INVITE", found.target, found.line, found.size,
                       found.limit, found.fits, found.refused, found.headers, found.steps, found.remarks)


def _refuse_configured(services: Services, name: str) -> None:
    found = services.actions.get(name)
    if found is not None and not found[1]:
        raise Refusal(409, f'"{name}" is in the configuration file: change it there')


def _shown(action: Action, saved: bool) -> SavedAction:
    return SavedAction(action, "saved" if saved else "configuration")
