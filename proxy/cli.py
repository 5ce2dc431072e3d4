"""The command line: run, check, demo, stats, trace, capture.

Exit status 2: the configuration is at fault, 1: anything else.
"""
import asyncio
import contextlib
import json
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxy import app, load, machine
from proxy.config import Config, ConfigError
from proxy.messages import AskStatistics, Capture, Done, Statistics, Trace

if TYPE_CHECKING:
    from proxy.supervisor import Supervisor

DEFAULT = Path(__file__).with_name("default.toml")

cli = typer.Typer(name="sipedge", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="A SIP edge proxy: access list, header injection, size check and transfers in front of PBXs.")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.", show_default=False)]
ListenOption = Annotated[str, typer.Option(
    "--listen", help="Listen here instead of on the configured listeners, such as udp:127.0.0.1:5060.")]


def _load(file: Path, listen: str = "", *, here: bool = False) -> Config:
    """here: to be run on this machine."""
    try:
        return load.load(file, listen=listen, here=here)
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None


@cli.command()
def run(
    config: ConfigOption = DEFAULT,
    listen: ListenOption = "",
    trace: Annotated[bool, typer.Option("--trace", help="Log every message in full.")] = False,
    demo: Annotated[bool, typer.Option(
        "--demo", help="Play the demo against the edge, then keep its stand-ins up for any SIP phone.")] = False,
) -> None:
    """Run the edge until SIGTERM or SIGINT; SIGHUP reads the configuration again."""
    from proxy.supervisor import Supervisor

    settings = _load(config, listen, here=True)
    supervisor = Supervisor(settings, file=config, listen=listen, trace=trace)
    try:
        supervisor.bind()
    except OSError as error:
        print(f"{config}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(1) from None
    if demo:
        raise typer.Exit(asyncio.run(_run_with_demo(supervisor, settings)))
    raise typer.Exit(asyncio.run(supervisor.run()))


async def _run_with_demo(supervisor: "Supervisor", config: Config) -> int:
    """The edge, and once it is ready the demo in a process of its own; the edge stays up after it."""
    host, port, _, _ = app.listeners(config)[0]
    started: list[asyncio.subprocess.Process] = []
    tasks: list[asyncio.Task[None]] = []

    async def play() -> None:
        started.append(await asyncio.create_subprocess_exec(
            sys.executable, "-m", "proxy", "demo", "--serve", "--edge", f"{host}:{port}"))
        await started[0].wait()

    supervisor.on_ready = lambda: tasks.append(asyncio.get_running_loop().create_task(play()))
    status = await supervisor.run()
    for process in started:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    for task in tasks:
        await task
    return status


@cli.command()
def check(config: ConfigOption = DEFAULT, listen: ListenOption = "") -> None:
    """Check a configuration, and show the size budget of each route and REFER rule with a sample call."""
    from proxy.policy.outline import outline
    from sipcore.stack import plan

    settings = _load(config, listen)
    plan.use_listeners(app.listeners(settings))
    for line in outline(app.with_path_mtu(settings)):
        print(line)
    for text in [*machine.remarks(settings), *(problem.text for problem in machine.strangers(settings))]:
        print(f"warning: {text}")
    print(f"{config}: good")


@cli.command()
def demo(
    edge: Annotated[str, typer.Option(help="Address and port of the edge.")] = "127.0.0.1:5060",
    as_json: Annotated[bool, typer.Option("--json", help="Print each step's outcome as a line of JSON.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Keep the stand-ins up after the calls.")] = False,
) -> None:
    """Place a call through a running edge, inject headers, transfer it, and show what happens on the wire."""
    from proxy.demo import run_demo
    from proxy.policy.addresses import parse_address
    from proxy.supervisor import ask_at, control_path_of

    try:
        address = parse_address(edge)
    except ValueError as error:
        print(f"--edge: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    path = control_path_of(address.host, address.port)

    def statistics() -> dict[str, int]:
        answer = ask_at(path, AskStatistics())
        assert isinstance(answer, Statistics)
        return answer.counters

    raise typer.Exit(asyncio.run(run_demo((address.host, address.port), json=as_json, serve=serve,
                                          statistics=statistics if path.exists() else None)))


@cli.command()
def stats(
    config: ConfigOption = DEFAULT,
    listen: ListenOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Also what is zero.")] = False,
) -> None:
    """Show the counters of a running edge."""
    from proxy.supervisor import ask

    try:
        answer = ask(_load(config, listen), AskStatistics())
    except OSError as error:
        print(f"no edge runs with this configuration: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    assert isinstance(answer, Statistics)
    if as_json:
        print(json.dumps(answer.counters | {
            "workers": answer.workers, "restarts": answer.restarts, "epoch": answer.epoch, "uptime": answer.uptime}))
        return
    print(f"workers {answer.workers}, restarts {answer.restarts}, configuration {answer.epoch}, "
          f"up {answer.uptime:.0f} s")
    for name, value in answer.counters.items():
        if value or all_:
            print(f"{name:24}{value:>16,}")


@cli.command()
def trace(
    state: Annotated[str, typer.Argument(help="on or off")],
    config: ConfigOption = DEFAULT,
    listen: ListenOption = "",
) -> None:
    """Let a running edge log every message in full, or end it."""
    from proxy.supervisor import ask

    if state not in ("on", "off"):
        print(f"expected on or off, found {state!r}", file=sys.stderr)
        raise typer.Exit(2)
    try:
        answer = ask(_load(config, listen), Trace(state == "on"))
    except OSError as error:
        print(f"no edge runs with this configuration: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    assert isinstance(answer, Done)
    if answer.error:
        print(answer.error, file=sys.stderr)
        raise typer.Exit(1)


@cli.command()
def capture(
    call_id: Annotated[str, typer.Option(help="Call-ID of a call in progress.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The pcap file to write.", show_default=False)],
    config: ConfigOption = DEFAULT,
    listen: ListenOption = "",
    seconds: Annotated[float, typer.Option(min=0.1, help="End after this time, if the call has not ended.")] = 3600.0,
) -> None:
    """Write the SIP and RTP of a call in progress to a file, until it ends or Ctrl-C."""
    from proxy.supervisor import ask

    settings = _load(config, listen)
    ours, theirs = socket.socketpair()
    try:
        with output.open("wb") as file, ours:
            with theirs:
                try:
                    ask(settings, Capture(call_id, seconds), [file.fileno(), theirs.fileno()])
                except OSError as error:
                    print(f"no edge runs with this configuration: {error}", file=sys.stderr)
                    raise typer.Exit(1) from None
            with contextlib.suppress(KeyboardInterrupt):
                ours.recv(1, socket.MSG_PEEK)
            ours.shutdown(socket.SHUT_WR)
            answer = ours.makefile().readline()
    except OSError as error:
        print(f"{output}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(1) from None
    found = json.loads(answer or '{"error": "the edge ended before the capture"}')
    if found.get("error"):
        print(found["error"], file=sys.stderr)
        raise typer.Exit(1)
    print(f"{output}: {found['packets']} packets" + (f", {found['dropped']} dropped" if found["dropped"] else ""))


def main() -> None:
    """The entry point of `sipedge`."""
    cli()
