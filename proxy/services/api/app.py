"""The API as one ASGI application."""
from typing import Any

import msgspec
from litestar import Litestar, Request
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ASGIApp

from proxy.services.services import Services

from .actions import ActionsController
from .auth import Guard
from .calls import CallsController, TransfersController
from .context import ContextController
from .edge import (
    AccessController,
    ConfigurationController,
    HealthController,
    RegistrationsController,
    UpstreamsController,
)
from .events import events
from .models import BODIES
from .operator import BansController, DrainingController
from .problems import FieldError, Refusal, handlers, refusal_of
from .records import RecordsController

VERSION = "1"


async def _decode_strictly(request: Request[Any, Any, Any]) -> None:
    """What is not exactly as the document says is refused, and the field named: Litestar would convert bodies, and
    pass over parameters of the query that nobody knows."""
    parameters = request.route_handler.parsed_fn_signature.parameters
    known = {getattr(one.kwarg_definition, "query", None) or name for name, one in parameters.items()}
    if unknown := [name for name in request.query_params if name not in known]:
        raise Refusal(400, "the query has parameters that nobody knows", [
            FieldError(name, "unknown parameter") for name in unknown])
    parameter = parameters.get("data")
    if parameter is not None:
        try:
            msgspec.json.decode(await request.body(), type=parameter.raw)
        except msgspec.MsgspecError as error:
            raise refusal_of(error) from None
        except RecursionError:
            raise Refusal(400, "the body is nested too deeply") from None


class _Document(JsonRenderPlugin):
    """The document with the bodies as msgspec describes them: Litestar takes a list's length for its elements'."""

    def __init__(self) -> None:
        super().__init__()
        _, self._schemas = msgspec.json.schema_components(
            BODIES, ref_template="#/components/schemas/{name}")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        components = openapi_schema["components"]
        schemas = {name: self._schemas.get(name, schema) for name, schema in components["schemas"].items()}
        return super().render(request, openapi_schema | {"components": components | {"schemas": schemas}})


def build(services: Services) -> ASGIApp:
    def provide() -> Services:
        return services

    app = Litestar(
        [CallsController, TransfersController, ActionsController, RecordsController, ContextController,
         AccessController, UpstreamsController, RegistrationsController, ConfigurationController, HealthController,
         BansController, DrainingController, events],
        dependencies={"services": Provide(provide, sync_to_thread=False)},
        before_request=_decode_strictly,
        exception_handlers=handlers(services.log),
        request_max_body_size=services.config.api.body_limit,
        signature_types=[Services],
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title="sipedge", version=VERSION, path="/schema", use_handler_docstrings=True,
            render_plugins=[_Document()],
            security=[{"token": []}],
            components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")})),
    )
    return Guard(app, lambda: services.tokens, lambda: services.redeemers)


