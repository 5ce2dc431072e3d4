"""The play: its acts one after the other, the report, and the stand-ins that stay up afterwards."""
import asyncio
from pathlib import Path

from rich.console import Console

from sipcore.base.errors import SipEdgeError

from .api import Api
from .call import Impossible, Unexpected
from .cast import ASSISTANT_HOST, CALLER_HOST, NETWORK, PORT
from .controlled import Controlled
from .forwarded import Forwarded, Statistics
from .ladder import Ladder
from .report import Outcome, Report, Result
from .stage import Address, Stage, View

LONGEST_STEP = 90
"""Seconds."""


class Play:
    """The endpoints and the steps that they take. Raises OSError where an address is taken.

    api: of the edge; without one there are no controlled calls. recordings: the folder for theirs.
    """

    def __init__(self, edge: Address, ladder: View | None, network: str = NETWORK, statistics: Statistics | None = None,
                 api: Api | None = None, recordings: Path | None = None):
        self.stage = Stage(edge, ladder, network, recordings if api is not None else None)
        self.steps = Forwarded(self.stage, statistics).steps
        if api is not None and recordings is not None:
            self.steps += Controlled(self.stage, api, recordings).steps

    def close(self) -> None:
        self.stage.close()

    async def run(self, report: Report) -> None:
        """Take the steps; after one that fails the others are skipped."""
        loop = asyncio.get_running_loop()
        going = True
        for step in self.steps:
            began = loop.time()
            result: Result = "skipped"
            found = ""
            if going:
                try:
                    async with asyncio.timeout(LONGEST_STEP):
                        found = await step.play()
                    result = "ok"
                except TimeoutError:
                    result, found, going = "failed", f"not over within {LONGEST_STEP} s", False
                except Impossible as error:
                    found = str(error)
                except (Unexpected, SipEdgeError, ValueError, OSError) as error:
                    result, found, going = "failed", str(error), False
            report.add(Outcome(step.name, result, step.expected, found, round(1000 * (loop.time() - began))))
        for phone in self.stage.phones:
            for trouble in phone.agent.take_troubles():
                report.add(Outcome("no mistakes", "failed", f"none of {phone.name}", trouble, 0))
            for call in list(phone.calls):
                call.hang_up()
            phone.voice = None


async def run_demo(edge: Address, *, json: bool, serve: bool, network: str = NETWORK,
                   console: Console | None = None, statistics: Statistics | None = None, api: Api | None = None,
                   recordings: Path | None = None) -> int:
    """Play the demo against the edge at that address (host, port). Returns the exit status: 0 where every step went as
    expected, 1 where one did not, 2 where the endpoints' addresses are taken.

    serve: stay up afterwards, until cancelled, so that phones can call the stand-ins. network: the first three numbers
    of the endpoints' addresses. statistics: gives the edge's counters. api: the edge's, where it
    runs the demo's own configuration; then the controlled calls are played too, and recorded in that folder.
    """
    console = console or Console(highlight=False)
    ladder = None if json else Ladder(console)
    try:
        play = Play(edge, ladder, network, statistics, api, recordings)
    except OSError as error:
        Console(stderr=True).print(f"The demo's endpoints need UDP port {PORT} of {network}.{CALLER_HOST} to "
                                   f".{ASSISTANT_HOST}: {error.strerror or error}", markup=False, soft_wrap=True)
        return 2
    try:
        report = Report(console, json=json)
        if ladder is not None:
            ladder.head()
        await play.run(report)
        report.show()
        if serve:
            play.stage.ladder = None
            if not json:
                users = "2001, 2002, agent or assistant" if api is not None else "2001, 2002 or agent"
                console.print(f"\nThe stand-ins stay up. Call sip:echo@{edge[0]}:{edge[1]}, {users} "
                              "there with any SIP phone. Ctrl-C ends it.", markup=False, soft_wrap=True)
                if api is not None:
                    for text in (f"The edge's log and the recordings are in {recordings}/.",
                                 f"The HTTP API is at {api.url} (token: {api.token})."):
                        console.print(text, markup=False, soft_wrap=True)
            await asyncio.Event().wait()
        return 0 if report.ok else 1
    finally:
        play.close()
