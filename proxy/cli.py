"""The command line: run, check, preflight, demo, stats, targets, drain, resume, bans, unban, trace, capture, record.

Exit status 2: the configuration is at fault, 1: anything else.
"""
import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy import app, load, machine, operate
from proxy.config import Config, ConfigError
from proxy.messages import AskStatistics, Capture, Done, Statistics, Trace

if TYPE_CHECKING:
    from proxy.supervisor import Supervisor

DEFAULT = Path(__file__).with_name("default.toml")
RECORDINGS = Path("out/demo")

cli = typer.Typer(name="sipedge", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  context_settings={"help_option_names": ["-h", "--help"]},
                  help="A SIP edge proxy: access list, header injection, size check and transfers in front of PBXs.")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.", show_default=False)]
ListenOption = Annotated[str, typer.Option(
    "--listen", help="Listen here instead of on the configured listeners, such as udp:127.0.0.1:5060.")]


def _load(file: Path, listen: str = "", *, here: bool = False, asking: bool = False) -> Config:
    """here: to be run on this machine. asking: to find the edge that runs with it."""
    try:
        return (load.load_without_secrets(file, listen=listen) if asking else
                load.load(file, listen=listen, here=here))
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"sipedge {version('sipedge')}")
        raise typer.Exit


@cli.callback()
def _options(
    version_: Annotated[bool, typer.Option("--version", help="Show the version.", callback=_show_version,
                                           is_eager=True)] = False,
) -> None:
    pass


@cli.command()
def run(
    config: ConfigOption = DEFAULT,
    listen: ListenOption = "",
    trace: Annotated[bool, typer.Option("--trace", help="Log every message in full.")] = False,
    demo: Annotated[bool, typer.Option(
        "--demo", help="Play the demo against the edge, then keep its stand-ins up for any SIP phone.")] = False,
    once: Annotated[bool, typer.Option("--once", help="End with the demo, and with its exit status.")] = False,
    as_json: Annotated[bool, typer.Option(
        "--json", help="The demo prints each step's outcome as a line of JSON.")] = False,
) -> None:
    """Run the edge until SIGTERM or SIGINT; SIGHUP reads the configuration again."""
    if (once or as_json) and not demo:
        print("--once and --json are for --demo", file=sys.stderr)
        raise typer.Exit(2)
    with contextlib.ExitStack() as stack:
        more: list[str] = []
        if demo and config == DEFAULT:
            config, more = _prepare_demo(stack)
        settings = _load(config, listen, here=True)
        supervisor = _bound(settings, config, listen, trace)
        raise typer.Exit(_play(supervisor, settings, once, more + ["--json"] * as_json) if demo else
                         asyncio.run(supervisor.run()))


def _play(supervisor: "Supervisor", settings: Config, once: bool, options: list[str]) -> int:
    """Run it with the demo, whose terminal it is then."""
    from proxy.demo.edge import log_to, run_with_demo

    log = RECORDINGS / "edge.log"
    try:
        screen = log_to(log)
    except OSError as error:
        print(f"{log}: {error.strerror}", file=sys.stderr)
        return 1
    host, port, *_ = app.listeners(settings)[0]
    return asyncio.run(run_with_demo(supervisor, f"{host}:{port}", screen, log, once=once, options=options))


def _bound(settings: Config, file: Path, listen: str, trace: bool) -> "Supervisor":
    """A supervisor that has its sockets."""
    from proxy.supervisor import Supervisor

    supervisor = Supervisor(settings, file=file, listen=listen, trace=trace)
    try:
        supervisor.bind()
    except OSError as error:
        text = str(error.strerror)
        print(f"{'--listen' if listen and text.startswith('cannot bind') else file}: {text}", file=sys.stderr)
        raise typer.Exit(1) from None
    return supervisor


def _prepare_demo(stack: contextlib.ExitStack) -> tuple[Path, list[str]]:
    """The configuration of the whole demo and a language model's stand-in, for as long as the stack lasts; with what
    the demo is to know of them."""
    from proxy.demo.configuration import prepare
    from proxy.demo.model import ModelStandIn

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipedge-demo-")))
    file, url, token = prepare(folder, stack.enter_context(ModelStandIn()).url)
    return file, ["--api", url, "--token-file", str(token)]


@cli.command()
def check(config: ConfigOption = DEFAULT, listen: ListenOption = "") -> None:
    """Check a configuration, show the size budget of each route and REFER rule with a sample call, and say which
    targets do not resolve."""
    from proxy import streaming
    from proxy.naming import addresses_in, look_up
    from proxy.policy.authproblems import auth_remarks
    from proxy.policy.outline import outline
    from sipcore.base.place import Unresolved
    from sipcore.stack import plan

    settings = _load(config, listen)
    plan.use_listeners(app.listeners(settings))
    outcomes = look_up(settings)
    for line in outline(app.with_path_mtu(settings, addresses_in(outcomes))):
        print(line)
    strangers = [problem.text for problem in machine.strangers(settings)]
    lost = [f"upstream target {outcome}" for outcome in outcomes.values() if isinstance(outcome, Unresolved)]
    short = machine.allow_files(settings)
    for text in [*lost, *auth_remarks(settings), *machine.remarks(settings), *streaming.remarks(settings),
                 *strangers, *([short] if short else [])]:
        print(f"warning: {text}")
    print(f"{config}: good")


@cli.command()
def preflight(
    uri: Annotated[str, typer.Argument(help="Such as sip:2001@pbx.example.com or sips:pbx.example.com.")],
    config: Annotated[Path | None, typer.Option(
        "--config", "-c", help="Ask as the edge with this configuration would: by its transports, from its addresses, "
                               "with its name servers and certificates; and show its size budgets on the way there.",
        show_default=False)] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=60, help="To wait for each answer.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say whether calls and transfers to a SIP URI will work: resolve it, connect, check the certificate, ask OPTIONS.

    The exit status is 0 where they can work, and 1 where not.
    """
    import msgspec

    from proxy import preflight as before

    settings = _load(config or DEFAULT)
    report = asyncio.run(before.preflight(uri, settings, as_configured=config is not None, seconds=seconds))
    if as_json:
        print(json.dumps(msgspec.to_builtins(report) | {"good": report.good}))
    else:
        print("\n".join(before.lines_of(report)))
    raise typer.Exit(0 if report.good else 1)


@cli.command()
def demo(
    edge: Annotated[str, typer.Option(help="Address and port of the edge.")] = "127.0.0.1:5060",
    as_json: Annotated[bool, typer.Option("--json", help="Print each step's outcome as a line of JSON.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Keep the stand-ins up after the calls.")] = False,
    api: Annotated[str, typer.Option(
        help="URL of the HTTP API of an edge with the demo's configuration: controlled calls are played, too.")] = "",
    token_file: Annotated[Path | None, typer.Option(help="File with the API's token.", show_default=False)] = None,
    recordings: Annotated[Path, typer.Option(help="Where the controlled calls' recordings are kept.")] = RECORDINGS,
) -> None:
    """Place calls through a running edge, inject headers, transfer them, and show what happens on the wire."""
    from proxy.control import ask_at, control_path_of
    from proxy.demo import run_demo
    from proxy.demo.api import Api
    from proxy.policy.addresses import parse_address

    try:
        address = parse_address(edge)
    except ValueError as error:
        print(f"--edge: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    path = control_path_of(address.host, address.port)
    try:
        token = token_file.read_text().strip() if token_file is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        print(f"--token-file: {error}", file=sys.stderr)
        raise typer.Exit(2) from None

    def statistics() -> dict[str, int]:
        try:
            answer = ask_at(path, AskStatistics())
        except OSError as error:
            raise OSError(f"{path}: {error.strerror or error}") from None
        assert isinstance(answer, Statistics)
        return answer.counters

    raise typer.Exit(asyncio.run(run_demo((address.host, address.port), json=as_json, serve=serve,
                                          statistics=statistics, api=Api(api, token) if api else None,
                                          recordings=recordings)))


@cli.command()
def stats(
    config: ConfigOption = DEFAULT,
    listen: ListenOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Also what is zero.")] = False,
) -> None:
    """Show the counters of a running edge."""
    from proxy.control import ask

    try:
        answer = ask(_load(config, listen, asking=True), AskStatistics())
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
def targets(
    config: ConfigOption = DEFAULT,
    listen: ListenOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the targets of a running edge's upstreams: state, share of their weight, calls."""
    operate.show_targets(_load(config, listen, asking=True), as_json)


@cli.command()
def drain(address: operate.AddressArgument = "", config: ConfigOption = DEFAULT, listen: ListenOption = "") -> None:
    """Send nothing new to a target, or begin nothing new at all; calls go on."""
    operate.change_target(_load(config, listen, asking=True), "drain", address)


@cli.command()
def resume(address: operate.AddressArgument = "", config: ConfigOption = DEFAULT, listen: ListenOption = "") -> None:
    """End the draining of a target, or of the edge."""
    operate.change_target(_load(config, listen, asking=True), "resume", address)


@cli.command()
def bans(
    config: ConfigOption = DEFAULT,
    listen: ListenOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the addresses that are banned."""
    operate.show_bans(_load(config, listen, asking=True), as_json)


@cli.command()
def unban(
    address: Annotated[str, typer.Argument(help="The banned address.")],
    config: ConfigOption = DEFAULT,
    listen: ListenOption = "",
) -> None:
    """Lift a ban."""
    operate.lift_ban(_load(config, listen, asking=True), address)


@cli.command()
def trace(
    state: Annotated[str, typer.Argument(help="on or off")],
    config: ConfigOption = DEFAULT,
    listen: ListenOption = "",
) -> None:
    """Let a running edge log every message in full, or end it."""
    from proxy.control import ask

    if state not in ("on", "off"):
        print(f"expected on or off, found {state!r}", file=sys.stderr)
        raise typer.Exit(2)
    try:
        answer = ask(_load(config, listen, asking=True), Trace(state == "on"))
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
    decrypted: Annotated[bool, typer.Option(
        "--decrypted", help="Write what SRTP packets say, and leave the keys in the messages.")] = False,
) -> None:
    """Write the SIP and RTP of a call in progress to a file, until it ends or Ctrl-C."""
    found = _keep(_load(config, listen, asking=True), Capture(call_id, seconds, decrypted), output)
    print(f"{output}: {found['packets']} packets" + (f", {found['dropped']} dropped" if found["dropped"] else ""))


@cli.command()
def record(
    call_id: Annotated[str, typer.Option(help="Call-ID of a call in progress.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The WAV file to write.", show_default=False)],
    config: ConfigOption = DEFAULT,
    listen: ListenOption = "",
    seconds: Annotated[float, typer.Option(min=0.1, help="End after this time, if the call has not ended.")] = 3600.0,
) -> None:
    """Record a call in progress, the caller on the left and the other side on the right, until it ends or Ctrl-C."""
    found = _keep(_load(config, listen, asking=True), Capture(call_id, seconds, sound=True), output)
    print(f"{output}: {found['seconds']} s" if found["seconds"] else f"{output}: nothing was said")


def _keep(settings: Config, wanted: Capture, output: Path) -> dict[str, Any]:
    """Have a running edge write a call into a file; how it went. The first Ctrl-C ends that, the second the command.

    It goes to a file beside it first, so that what was there before is lost only where there is something to write; a
    pipe or a device is written to at once.
    """
    from proxy.control import ask

    ours, theirs = socket.socketpair()

    def end(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        ours.shutdown(socket.SHUT_WR)

    # Before the edge knows of it: what it says in its log may be followed by a Ctrl-C at once.
    signal.signal(signal.SIGINT, end)
    place = output.resolve()
    part = place if place.exists() and not place.is_file() else place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with part.open("wb") as file, ours:
            with theirs:
                try:
                    ask(settings, wanted, [file.fileno(), theirs.fileno()])
                except OSError as error:
                    print(f"no edge runs with this configuration: {error}", file=sys.stderr)
                    raise typer.Exit(1) from None
            while not select.select([ours], [], [], 0.1)[0] and not part.stat().st_size:
                pass
            if part != place and part.stat().st_size:
                # From now on it can be looked at while it grows.
                part = part.replace(place)
            answer = ours.makefile().readline()
        found: dict[str, Any] = json.loads(answer or '{"error": "the edge ended before it was done"}')
        if found.get("error"):
            print(found["error"], file=sys.stderr)
            raise typer.Exit(1)
    except OSError as error:
        print(f"{output}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(1) from None
    finally:
        if part != place:
            part.unlink(missing_ok=True)
    return found


def main() -> None:
    """Of `sipedge`, once it is loaded."""
    cli()
