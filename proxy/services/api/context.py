"""Context by reference: the headers that a request had no room for, for whoever shows the token that stood in it."""
from typing import Annotated

from litestar import Controller, Response, get
from litestar.params import Parameter

from proxy.services.references import Forgotten, Over
from proxy.services.services import Services

from .models import ContextHeaders
from .problems import Refusal, refusals

Token = Annotated[str, Parameter(description="The value of `X-Context-Ref`, or as the upstream calls that header.")]


class ContextController(Controller):
    path = "/v1/context"
    tags = ("context",)

    @get("/{token:str}", summary="Redeem context by reference", responses=refusals(404, 410, 503))
    async def redeem(self, services: Services, token: Token) -> Response[ContextHeaders]:
        """All headers that were set for the request that carried this token, as often as asked for until it is over. A
        token of `[reference]` is good for this and nothing else; addresses in `reference.open_to` need none."""
        # The token is named in no answer and no line of the log: it opens what it stands for.
        try:
            found, headers = await services.references.redeem(token)
        except Forgotten:
            raise Refusal(404, "no context is kept for this token") from None
        except Over:
            raise Refusal(410, "this token has expired") from None
        return Response(ContextHeaders(headers, 1000 * found.expires), headers={"Cache-Control": "no-store"})
