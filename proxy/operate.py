"""The operator's commands: targets and bans of a running edge."""
import json
import socket
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Annotated, Any

import typer

from proxy.config import Config
from proxy.messages import Done, Operate, Task
from proxy.policy.addresses import parse_address

AddressArgument = Annotated[str, typer.Argument(
    help="Address of the target, as `targets` shows it; without it the edge.")]


def answers(config: Config, task: Task, address: str = "") -> Iterator[dict[str, Any]]:
    """What each worker says. Raises OSError where no edge runs, ValueError with what is wrong with the question."""
    from proxy.control import ask

    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            answer = ask(config, Operate(task, address), [theirs.fileno()])
        assert isinstance(answer, Done)
        if answer.error:
            raise ValueError(answer.error)
        ours.settimeout(20.0)
        for line in ours.makefile():
            yield json.loads(line)


def asked(config: Config, task: Task, address: str = "") -> list[dict[str, Any]]:
    """The same for a command line: what is wrong goes to standard error, and ends it."""
    try:
        return list(answers(config, task, address))
    except OSError as error:
        print(f"no edge runs with this configuration: {error}", file=sys.stderr)
    except ValueError as error:
        print(error, file=sys.stderr)
    raise typer.Exit(1)


def show_targets(config: Config, as_json: bool) -> None:
    """Print how the targets are."""
    found = [one for answer in asked(config, "targets") for one in answer["targets"]]
    if as_json:
        print(json.dumps(found))
        return
    for one in found:
        place = f"{one['upstream']:20} {one['address']:28}"
        failed = f"  {one['failures']} failures, the last one: {one['last_failure']}" if one["failures"] else ""
        print(f"{place} {one['state']:9} {one['share']:>4.0%} {one['calls']:>7,} calls{failed}")


def change_target(config: Config, task: Task, address: str) -> None:
    """Drain a target, or take it back; an empty address is the edge."""
    try:
        text = str(parse_address(address)) if address else ""
    except ValueError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    if not any(answer["found"] for answer in asked(config, task, text)):
        print(f"{text} is no target of an upstream now; it is remembered should it become one", file=sys.stderr)


def show_bans(config: Config, as_json: bool) -> None:
    """Print the addresses that are banned."""
    found = [one for answer in asked(config, "bans") for one in answer["bans"]]
    if as_json:
        print(json.dumps(found))
        return
    for one in sorted(found, key=lambda one: int(one["until"])):
        print(f"{one['address']:40} {one['seconds']:>8,} s  ban number {one['count']}")


def lift_ban(config: Config, address: str) -> None:
    """Forget a ban and its strikes."""
    try:
        text = str(ip_address(address))
    except ValueError:
        print(f'expected an IP address, found "{address}"', file=sys.stderr)
        raise typer.Exit(2) from None
    if not any(answer["found"] for answer in asked(config, "unban", text)):
        print(f"{text} is not banned", file=sys.stderr)
        raise typer.Exit(1)
