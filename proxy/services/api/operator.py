"""What an operator does to a running edge: bans and draining, as the commands `bans`, `unban`, `drain` and `resume`."""
from ipaddress import ip_address
from typing import Annotated

import msgspec
from litestar import Controller, Response, delete, get, post
from litestar.params import Parameter

from proxy.messages import Operate, Task
from proxy.policy.addresses import parse_address
from proxy.services.services import Services

from .models import Ban, BanList, Drained, NewBan
from .problems import FieldError, Refusal, refusals

Host = Annotated[str, Parameter(max_length=64, description="An IP address.")]
Target = Annotated[str, Parameter(max_length=64, description="Address and port of a target, as its upstream shows it.")]


def _host(text: str, status: int) -> str:
    """As addresses of bans are shown. Raises Refusal."""
    try:
        address = ip_address(text)
    except ValueError:
        why = "expected an IP address"
        raise Refusal(status, why, [FieldError("address", why)]) from None
    if getattr(address, "scope_id", None):
        why = "expected an IP address without a zone"
        raise Refusal(status, why, [FieldError("address", why)])
    # A ban of IPv6 is one of a /64 (sipcore.base.bans).
    return str(address) if address.version == 4 else str(type(address)(int(address) >> 64 << 64))


async def _bans(services: Services) -> list[Ban]:
    """Of all workers; an address that several have banned is shown as the one that lasts longest."""
    found: dict[str, Ban] = {}
    for answer in await services.operate(Operate("bans")):
        for one in msgspec.convert(answer["bans"], list[Ban]):
            if one.address not in found or found[one.address].until < one.until:
                found[one.address] = one
    return sorted(found.values(), key=lambda one: (-one.until, one.address))


async def _ban(services: Services, host: str) -> Ban:
    found = next((one for one in await _bans(services) if one.address == host), None)
    if found is None:
        raise Refusal(404, f"{host} is not banned")
    return found


class BansController(Controller):
    path = "/v1/bans"
    tags = ("operator",)

    @get(summary="List the bans", responses=refusals(503))
    async def list_bans(self, services: Services) -> BanList:
        """Addresses that are banned now."""
        return BanList(await _bans(services))

    @post(summary="Ban an address", status_code=201, responses=refusals(413, 422, 503))
    async def ban(self, services: Services, data: NewBan) -> Response[Ban]:
        """In effect at once, over any transport, and until it is over, lifted, or the workers end; one that is banned
        is from now on banned for so long."""
        host = _host(data.address, 422)
        await services.operate(Operate("ban", host, data.seconds))
        return Response(await _ban(services, host), status_code=201, headers={"Location": f"/v1/bans/{host}"})

    @get("/{address:str}", summary="Show a ban", responses=refusals(404, 503))
    async def show_ban(self, services: Services, address: Host) -> Ban:
        """Of one address."""
        return await _ban(services, _host(address, 404))

    @delete("/{address:str}", summary="Lift a ban", status_code=204, responses=refusals(404, 503))
    async def lift_ban(self, services: Services, address: Host) -> None:
        """Its strikes are forgotten too."""
        host = _host(address, 404)
        if not any(answer["found"] for answer in await services.operate(Operate("unban", host))):
            raise Refusal(404, f"{host} is not banned")


class DrainingController(Controller):
    path = "/v1"
    tags = ("operator",)

    @post("/targets/{address:str}/drain", summary="Drain a target", status_code=200, responses=refusals(404, 503))
    async def drain_target(self, services: Services, address: Target) -> Drained:
        """Nothing new goes there, also after a worker's restart; its calls go on."""
        return await self._change(services, "drain", address)

    @post("/targets/{address:str}/resume", summary="End the draining of a target", status_code=200,
          responses=refusals(404, 503))
    async def resume_target(self, services: Services, address: Target) -> Drained:
        """It gets its share again, less of it at first (`health.slow_start`)."""
        return await self._change(services, "resume", address)

    @post("/edge/drain", summary="Drain the edge", status_code=204, responses=refusals(503))
    async def drain_edge(self, services: Services) -> None:
        """What would begin something gets 503 until it is resumed; calls go on."""
        await services.operate(Operate("drain"))

    @post("/edge/resume", summary="End the draining of the edge", status_code=204, responses=refusals(503))
    async def resume_edge(self, services: Services) -> None:
        """Calls begin again."""
        await services.operate(Operate("resume"))

    async def _change(self, services: Services, task: Task, address: str) -> Drained:
        try:
            text = str(parse_address(address))
        except ValueError as error:
            raise Refusal(404, str(error)) from None
        return Drained(text, any(answer["found"] for answer in await services.operate(Operate(task, text))))
