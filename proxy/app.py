"""Where the layers meet: from a configuration to a running Proxy.

This is the one module that knows the configuration, the policy and the stack.
"""
from collections import Counter

import msgspec

from proxy.admission import admission
from proxy.audio import Audio
from proxy.config import Config
from proxy.pathmtu import path_mtu
from proxy.policy.addresses import bind_address, parse_address
from proxy.policy.engine import Policy
from sipcore.stack import plan
from sipcore.stack.admission import Admission
from sipcore.stack.forward import Proxy
from sipcore.stack.identity import Identity

USUAL_MTU = 1500
MEBIBYTE = 1 << 20


def listeners(config: Config) -> list[tuple[str, int, str, int]]:
    """(bound host, port, advertised host, port) of each listener."""
    found = []
    for listener in config.listeners:
        _, bound = bind_address(listener.bind)
        public = parse_address(listener.advertise, bound.port) if listener.advertise else bound
        found.append((bound.host, bound.port, public.host, public.port))
    return found


def with_path_mtu(config: Config) -> Config:
    """The configuration with the MTU of each upstream lowered to what the kernel knows of the way to it."""
    upstreams = []
    for upstream in config.upstreams:
        targets = [parse_address(target.address) for target in upstream.targets]
        least = min((mtu for target in targets if (mtu := path_mtu(target.host, target.port))), default=0)
        if least and least < (upstream.mtu or USUAL_MTU):
            upstream = msgspec.structs.replace(upstream, mtu=least)
        upstreams.append(upstream)
    return msgspec.structs.replace(config, upstreams=tuple(upstreams))


def build_proxy(config: Config, *, secret: bytes, worker: int = 0, counters: Counter[str] | None = None,
                audio: Audio | None = None) -> Proxy:
    """A Proxy that runs a configuration; its listeners are those of the configuration, in their order.

    counters: where the policy counts what it did. audio: of the same configuration, where that has [[media]].
    """
    plan.use_listeners(listeners(config))
    policy, access = Policy(with_path_mtu(config), counters), admission(config)
    timers, limits = config.timers, config.limits
    proxy = Proxy(
        Identity(secret, worker), admission=access, decide=policy.decide, oversize=policy.oversize,
        transactions=limits.transactions, dialogs=limits.dialogs, memory=limits.memory * MEBIBYTE,
        t1=_ms(timers.t1), t2=_ms(timers.t2), t4=_ms(timers.t4), timer_c=_ms(timers.timer_c),
        media=audio.anchor if audio is not None else None)
    for listener in listeners(config):
        proxy.add_listener(*listener)
    proxy.set_limits(limits.message_size, limits.header_count, limits.line_length)
    _apply(proxy, config, policy, access)
    return proxy


def configure(proxy: Proxy, config: Config, counters: Counter[str] | None = None, audio: Audio | None = None) -> None:
    """Make a running Proxy follow a configuration with the same listeners, from the next request on.

    Raises OSError where a new media address cannot be had; nothing has changed then.
    """
    plan.use_listeners(listeners(config))
    policy, access = Policy(with_path_mtu(config), counters), admission(config)
    if audio is not None:
        audio.configure(config)
    _apply(proxy, config, policy, access)


def _apply(proxy: Proxy, config: Config, policy: Policy, access: Admission) -> None:
    """Hand over what was compiled from a configuration."""
    proxy.configure(
        access, policy.decide, policy.oversize, internal=config.internal.headers,
        outcome_ms=_ms(config.timers.refer_outcome), max_calls=config.limits.calls,
        dialog_budget=policy.dialog_budget,
        groups=[group.name for group in config.groups],
        upstreams=[upstream.name for upstream in config.upstreams])
    proxy.records.journal.enabled = config.log.calls


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
