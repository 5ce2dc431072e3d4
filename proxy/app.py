"""Where the layers meet: from a configuration to a running Proxy.

This is the one module that knows the configuration, the policy and the stack.
"""
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from proxy import streaming
from proxy.admission import admission
from proxy.audio import Audio
from proxy.calls.registry import Calls
from proxy.calls.services import Services
from proxy.config import Config, read_secret, reference_keys
from proxy.config.users import hashes_of, users_of
from proxy.pathmtu import path_mtu
from proxy.policy.accounts import Account, Accounts
from proxy.policy.addresses import bind_address, parse_address
from proxy.policy.auth import Askers
from proxy.policy.engine import Policy
from proxy.policy.fragmentation import Budget
from proxy.policy.names import Found, members
from proxy.policy.references import NOBODY
from proxy.references import References
from sipcore.net.stream import Streams
from sipcore.stack import plan
from sipcore.stack.admission import Admission
from sipcore.stack.capabilities import EXTENSIONS
from sipcore.stack.flows import Flows
from sipcore.stack.identity import Identity
from sipcore.stack.pathlimits import PathLimits
from sipcore.stack.proxy import Proxy
from sipcore.stack.verdict import Request, Verdict

GRACE_MS = 1000
USUAL_MTU = 1500
MEBIBYTE = 1 << 20


def listeners(config: Config) -> list[tuple[str, int, str, int, str]]:
    """(bound host, port, advertised host, port, transport) of each listener."""
    found = []
    for listener in config.listeners:
        transport, bound = bind_address(listener.bind)
        public = parse_address(listener.advertise, bound.port) if listener.advertise else bound
        found.append((bound.host, bound.port, public.host, public.port, transport))
    return found


def with_path_mtu(config: Config, found: Found | None = None) -> Config:
    """The configuration with the MTU of each upstream lowered to what the kernel knows of the way to it.

    found: addresses of targets that are names.
    """
    upstreams = []
    for upstream in config.upstreams:
        targets = [member.address for member in members(upstream.targets, found or {})]
        least = min((mtu for target in targets
                     if target.place is None and (mtu := path_mtu(target.host, target.port))), default=0)
        if least and least < (upstream.mtu or USUAL_MTU):
            upstream = msgspec.structs.replace(upstream, mtu=least)
        upstreams.append(upstream)
    return msgspec.structs.replace(config, upstreams=tuple(upstreams))


def path_limit(host: str, port: int) -> int:
    """Bytes that a request may have on the way to an address, as the kernel knows it; 0 where it knows nothing."""
    mtu = path_mtu(host, port)
    return Budget(mtu).limit if mtu else 0


def _oversize(policy: Policy) -> Callable[[Request, Verdict, int], Verdict]:
    """Policy.oversize with the path MTU of the way to the target, where that is what the request is too big for."""
    def oversize(request: Request, verdict: Verdict, size: int) -> Verdict:
        target = request.towards
        mtu = path_mtu(target.host, target.port) if target is not None else 0
        return policy.oversize(request, verdict, size, mtu if mtu and Budget(mtu).limit < verdict.budget else 0)
    return oversize


def askers(config: Config, counters: Counter[str] | None = None, before: Askers | None = None) -> Askers:
    """The realms of a configuration, with their users as the files and the environment have them now. Raises
    ValueError where a secret cannot be read."""
    folder = Path(config.file).parent
    users = {realm.name: users_of(read_secret(folder, realm.users_file, realm.users_env), realm)
             for realm in config.realms}
    return Askers(config, users, counters, before)


def accounts(config: Config) -> Accounts:
    """What the edge proves itself with to upstreams. Raises ValueError where a secret cannot be read."""
    folder = Path(config.file).parent
    return {(upstream.name, one.realm): Account(one.user, hashes_of(
                read_secret(folder, one.secret_file, one.secret_env), one))
            for upstream in config.upstreams for one in upstream.credentials}


def _reference_keys(config: Config) -> list[bytes]:
    """What tokens for context by reference are signed with. Raises ValueError where they cannot be read."""
    return reference_keys(config.reference, Path(config.file).parent)


def build_proxy(config: Config, *, secret: bytes, worker: int = 0, counters: Counter[str] | None = None,
                audio: Audio | None = None, services: Services | None = None, found: Found | None = None,
                references: References | None = None) -> Proxy:
    """A Proxy that runs a configuration; its listeners are those of the configuration, in their order.

    counters: where the policy counts what it did. audio: of the same configuration, where that has [[media]]. services:
    whom controlled calls ask and tell; their registry is the Proxy's handler. found: addresses of targets that are
    names. references: what makes tokens for context by reference.
    """
    plan.use_listeners(listeners(config))
    policy = Policy(with_path_mtu(config, found), counters, found, askers(config, counters), accounts(config),
                    references or NOBODY)
    if references is not None:
        references.configure(config.reference, _reference_keys(config))
    access = admission(config)
    timers, limits = config.timers, config.limits
    proxy = Proxy(
        Identity(secret, worker), admission=access, decide=policy.decide, oversize=_oversize(policy),
        transactions=limits.transactions, dialogs=limits.dialogs, memory=limits.memory * MEBIBYTE,
        t1=_ms(timers.t1), t2=_ms(timers.t2), t4=_ms(timers.t4), timer_c=_ms(timers.timer_c),
        media=audio.anchor if audio is not None else None, extensions=EXTENSIONS)
    proxy.handler = Calls(proxy, policy, worker=worker, services=services,
                          media=audio.bridges if audio is not None else None)
    for listener in listeners(config):
        proxy.add_listener(*listener)
    proxy.paths = PathLimits(path_limit)
    proxy.set_limits(limits.message_size, limits.header_count, limits.line_length)
    if timers.keepalive:
        proxy.flows = Flows(_ms(timers.keepalive), limits.sources)
    _apply(proxy, config, policy, access)
    return proxy


def configure(proxy: Proxy, config: Config, counters: Counter[str] | None = None, audio: Audio | None = None,
              found: Found | None = None, streams: Streams | None = None) -> None:
    """Make a running Proxy, and its connections, follow a configuration with the same listeners, from the next request
    on.

    Raises OSError where a new media address cannot be had, ValueError where a certificate cannot be read; nothing has
    changed then.
    """
    contexts = streaming.contexts(config) if streams is not None else []
    plan.use_listeners(listeners(config))
    before, keys = calls_of(proxy).policy, _reference_keys(config)
    policy = Policy(with_path_mtu(config, found), counters, found, askers(config, counters, before.askers),
                    accounts(config), before.keeper)
    access = admission(config)
    if audio is not None:
        audio.configure(config)
    _apply(proxy, config, policy, access)
    if isinstance(policy.keeper, References):
        policy.keeper.configure(config.reference, keys)
    if streams is not None:
        streaming.follow(streams, config, contexts)


def _apply(proxy: Proxy, config: Config, policy: Policy, access: Admission) -> None:
    """Hand over what was compiled from a configuration."""
    proxy.configure(
        access, policy.decide, _oversize(policy), internal=config.internal.headers,
        outcome_ms=_ms(config.timers.refer_outcome), max_calls=config.limits.calls,
        dialog_budget=policy.dialog_budget,
        groups=[group.name for group in config.groups],
        upstreams=[upstream.name for upstream in config.upstreams],
        realms=[realm.realm for realm in config.realms])
    proxy.expect_names([(address.host, address.port, address.name)
                        for peer in policy.peers.values() for address in peer.addresses
                        if address.secure and address.place is None])
    # The resolver keeps its own deadline, and says more: this one is for the case that it does not.
    proxy.pending.configure(config.dns.waiting, _ms(config.dns.deadline) + GRACE_MS)
    proxy.records.journal.enabled = config.log.calls
    _guard(proxy, config)
    policy.askers.on_blocked = proxy.offend
    calls_of(proxy).configure(policy)


def _guard(proxy: Proxy, config: Config) -> None:
    """Overload control, scanners and bans; the bans that there are stay."""
    overload, abuse = config.overload, config.abuse
    proxy.overload.limit_to(_ms(overload.lag), round(1000 * overload.transactions), overload.retry_after)
    proxy.look_for(abuse.scanners)
    proxy.bans.strikes, proxy.bans.ban_ms = abuse.strikes, 1000 * abuse.ban


def calls_of(proxy: Proxy) -> Calls:
    """The controlled calls of a Proxy that was built here."""
    assert isinstance(proxy.handler, Calls)
    return proxy.handler


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
