"""Everything that goes wrong, as RFC 9457 says it: `application/problem+json`, and the field that is wrong."""
import re
import traceback
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec

from proxy.config import Problem as Fault
from proxy.config.errors import dotted
from proxy.events import Reply
from proxy.log import Log
from proxy.services.database import Unavailable
from proxy.services.workers import Unanswered

MEDIA_TYPE = "application/problem+json"

_PATH = re.compile(r"(?P<text>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)


class FieldError(msgspec.Struct):
    """What is wrong with one field: its path in the body, or the name of a parameter."""

    field: str
    detail: str


class ProblemDetails(msgspec.Struct, kw_only=True):
    """RFC 9457 section 3.1; errors is the extension that names fields."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


class Refusal(Exception):
    """An answer with a status of 400 or above."""

    def __init__(self, status: int, detail: str, errors: Sequence[FieldError] = ()):
        super().__init__(detail)
        self.problem = problem(status, detail, errors)


def problem(status: int, detail: str, errors: Sequence[FieldError] = ()) -> ProblemDetails:
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    return ProblemDetails(title=title, status=status, detail=detail or title, errors=list(errors))


def faults(status: int, detail: str, found: Sequence[Fault], prefix: str = "") -> Refusal:
    """What the configuration's checks have to say of something in a body."""
    return Refusal(status, detail, [
        FieldError(".".join(filter(None, [prefix, dotted(fault.path)])), fault.text) for fault in found])


def refusal_of(error: msgspec.MsgspecError) -> Refusal:
    """Of a body that could not be decoded: 400 where it is no JSON, 422 where it is not the right one."""
    if not isinstance(error, msgspec.ValidationError):
        return Refusal(400, f"The body is not JSON: {error}")
    found = _PATH.fullmatch(str(error))
    assert found is not None
    # A missing or unknown field is named in the text, and the path leads to the object around it.
    named = re.search(r"(?:missing required|unknown) field `(.*)`", found["text"], re.DOTALL)
    field = ".".join(filter(None, [found["path"], named[1] if named else ""]))
    return Refusal(422, f"The body is not as expected: {error}", [FieldError(field, found["text"])])


def checked(reply: Reply, inside: str = "") -> Reply:
    """The reply of a worker that did what it was told. Raises Refusal with the status that it gave; inside: what the
    names of fields begin with there, and not in the body."""
    if reply.status >= 400:
        status = reply.status if reply.status in (404, 409, 422, 503) else 500
        field = reply.field.removeprefix(inside)
        raise Refusal(status, reply.error, [FieldError(field, reply.error)] if field else ())
    return reply


def answer(found: ProblemDetails, headers: dict[str, str] | None = None) -> Response[Any]:
    return Response(content=msgspec.json.encode(found), media_type=MEDIA_TYPE, status_code=found.status,
                    headers=headers)


def _on_refusal(_: Request[Any, Any, Any], error: Refusal) -> Response[Any]:
    return answer(error.problem)


def _on_unanswered(_: Request[Any, Any, Any], error: Unanswered) -> Response[Any]:
    return answer(problem(503, str(error)), {"Retry-After": "1"})


def _on_unavailable(_: Request[Any, Any, Any], error: Unavailable) -> Response[Any]:
    return answer(problem(503, f"the database cannot be used: {error}"), {"Retry-After": "5"})


def _on_http(_: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """What Litestar refuses: no such path or method, a parameter out of range, a body too large."""
    extra = error.extra if isinstance(error.extra, list) else []
    found = [FieldError(str(one.get("key", "")), str(one.get("message", ""))) for one in extra if isinstance(one, dict)]
    detail = error.detail if error.status_code < 500 else ""
    return answer(problem(error.status_code, detail, found), error.headers)


def handlers(log: Log) -> dict[Any, Any]:
    """What answers in place of a route that raised."""
    def on_mistake(_: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        log.error("mistake in the API", error=f"{type(error).__name__}: {error}", at=_place(error))
        return answer(problem(500, "a mistake of the edge's; the log has more"))

    return {Refusal: _on_refusal, Unanswered: _on_unanswered, Unavailable: _on_unavailable, HTTPException: _on_http,
            Exception: on_mistake}


def _place(error: Exception) -> str:
    """File and line where it was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"


_DESCRIPTIONS = {
    400: "The request is malformed.", 401: "A good token is missing.", 403: "A web page of a stranger asked.",
    404: "There is no such thing.", 409: "It cannot be done now.",
    410: "It was there, and is over.",
    413: "The body is too large.", 422: "A field is wrong.", 503: "A worker or the database did not answer in time.",
}


def refusals(*statuses: int) -> dict[int, ResponseSpec]:
    """For the OpenAPI document: how a route may refuse, beyond what all may."""
    return {status: ResponseSpec(ProblemDetails, generate_examples=False, description=_DESCRIPTIONS[status],
                                 media_type=MEDIA_TYPE)
            for status in (400, 401, 403, *statuses)}
