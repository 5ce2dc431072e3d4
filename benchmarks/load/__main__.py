"""Command line of the load generator."""
import sys
from typing import Annotated, Literal

import msgspec
import typer

from benchmarks import load

Role = Literal["both", "uac", "uas"]


def main(
    role: Annotated[Role, typer.Option(help="Which sides to run.")] = "both",
    caller: Annotated[str, typer.Option(help="Address of the calling side, host:port.")] = "127.0.0.2:5060",
    callee: Annotated[str, typer.Option(help="Address of the answering side.")] = "127.0.0.3:5060",
    target: Annotated[str | None, typer.Option(help="Address of the proxy; without it the callee is called.")] = None,
    transport: Annotated[load.Transport, typer.Option(help="How both sides are reached.")] = "udp",
    connections: Annotated[int, typer.Option(help="Of the calling side, over TCP and TLS.")] = 4,
    certificate: Annotated[str, typer.Option(help="The answering side's over TLS, PEM.")] = "",
    key: Annotated[str, typer.Option(help="Its private key.")] = "",
    ca: Annotated[str, typer.Option(help="What the proxy's certificate must come from, PEM.")] = "",
    rate: Annotated[float, typer.Option(help="Calls a second, evenly spaced (open loop).")] = 0.0,
    window: Annotated[int, typer.Option(help="Calls at a time (closed loop).")] = 0,
    calls: Annotated[int, typer.Option(help="How many calls; 0: as many as the duration allows.")] = 0,
    duration: Annotated[float, typer.Option(help="Seconds in which calls are placed or answered.")] = 0.0,
    hold: Annotated[float, typer.Option(help="Seconds between ACK and BYE.")] = 0.0,
    loss: Annotated[float, typer.Option(help="Share of outgoing messages that is dropped.")] = 0.0,
    answer: Annotated[int, typer.Option(help="Final status that the answering side gives.")] = 200,
    t1: Annotated[float, typer.Option(help="Timer T1 in seconds.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Picks which messages are lost.")] = 1,
    spin: Annotated[bool, typer.Option(help="Do not sleep between packets: a sharper clock, a whole core.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
) -> None:
    """Place SIP calls, answer them, and report counts and latencies. Exit status 1 if a call was not completed."""
    try:
        plan = load.Plan(
            role=role, caller=caller, callee=callee, target=target, transport=transport, connections=connections,
            certificate=certificate, key=key, ca=ca, rate=rate, window=window, calls=calls, duration=duration,
            hold=hold, loss=loss, answer=answer, t1=t1, seed=seed, spin=spin,
        )  # fmt: skip
        report = load.run(plan)
    except (ValueError, OSError) as error:
        print(f"load: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print(msgspec.json.format(msgspec.json.encode(report)).decode() if as_json else summary(report))
    if report.uac and report.uac.ok != report.uac.started:
        raise typer.Exit(1)


def summary(report: load.Report) -> str:
    """Return the report in a few lines for people."""
    lines = [
        f"messages  {report.sent} sent, {report.received} received, {report.retransmissions} of them sent again, "
        f"{report.lost} lost on purpose, {report.drops} dropped by the kernel; "
        f"generator {report.cpu:.2f} of {report.wall:.2f} s"
    ]
    if calls := report.uac:
        failed = ", ".join(f"{number} x {status}" for status, number in sorted(calls.failed.items())) or "none failed"
        lines.append(
            f"calls     {calls.ok} of {calls.started} ok, {failed}, {calls.timeouts} timed out, "
            f"{calls.malformed} malformed; {calls.per_second:.0f} calls/s"
        )
        lines += [
            f"{name:<9} p50 {times.p50:.0f}  p90 {times.p90:.0f}  p99 {times.p99:.0f}  p99.9 {times.p999:.0f}  "
            f"max {times.max:.0f} us"
            for name, times in (("ringing", calls.ringing), ("ending", calls.ending))
        ]
    if answers := report.uas:
        lines.append(
            f"answered  {answers.answered}, {answers.confirmed} acknowledged, {answers.ended} ended, "
            f"{answers.misrouted} misrouted, {answers.malformed} malformed, {answers.strays} strays"
        )
    return "\n".join(lines)


typer.run(main)
