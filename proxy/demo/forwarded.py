"""Calls that the edge forwards: injected headers, a blind transfer, a refused one, a busy one, and the echo.

Every step is checked on the bytes that arrive at the far end of the edge, or by the tone that is heard there and the
port that it came from.
"""
import asyncio
from collections.abc import Callable

from sipcore.wire.sdp import Sdp
from sipcore.wire.uri import URI

from .call import Call, Impossible, Unexpected
from .cast import AGENT_TONE, CALLER_NUMBER, CALLER_TONE, HUMAN_TONE
from .report import Step
from .stage import BUDGET, SECRET_HEADER, Stage, both_hear, header, notified, request_of, same

NAME = "Ann Müller & Söhne"
"""Needs every kind of escaping on its way through Refer-To."""
INTENT = "billing question"
STARTING, RETRY = 3, 0.5
"""Seconds that an edge may take to start, and between two attempts to reach it."""

FEW = 25
"""Packets at the beginning and end of each call."""
SETTLE = 10
"""Seconds in which the edge's counters, which it writes down once a second, have come to rest."""

Statistics = Callable[[], dict[str, int]]
"""The counters of the edge. OSError where they cannot be read."""


class Forwarded:
    """The steps. statistics: gives the edge's counters, where they can be had."""

    def __init__(self, stage: Stage, statistics: Statistics | None = None):
        self.stage = stage
        self.caller, self.agent, self.pbx = stage.caller, stage.agent, stage.pbx
        self.edge, self.pbx_uri = stage.edge, stage.pbx_uri
        self.statistics = statistics
        self._before: dict[str, int] = {}
        self._unread = "nobody has given the edge's counters" if statistics is None else ""
        self.steps: tuple[Step, ...] = (
            Step("edge", "the edge answers", self.edge_answers),
            Step("call", "the agent gets the caller's INVITE with X-Edge-Call and X-Edge-From, and nothing internal",
                 self.call_agent),
            Step("hear agent", f"caller and agent hear each other ({AGENT_TONE} and {CALLER_TONE} Hz)",
                 self.hear_agent),
            Step("audio path", "both hear from ports of the edge alone, each from another one", self.path_to_agent),
            Step("refer", "the caller gets the agent's REFER, headers inside Refer-To escaped once; 202",
                 self.refer_human),
            Step("progress", "NOTIFY 100 at the agent: accepted, not completed", self.progress),
            Step("transfer", "the PBX gets X-Customer-Intent and X-Caller-Name on the caller's INVITE; size in budget",
                 self.arrives_at_pbx),
            Step("outcome", "NOTIFY 200 at the agent: completed, the subscription ended", self.completed),
            Step("agent leaves", "the agent's BYE is answered; the caller's new call stays", self.agent_leaves),
            Step("hear human", f"caller and 2001 hear each other ({HUMAN_TONE} and {CALLER_TONE} Hz)",
                 self.hear_human),
            Step("audio path to 2001", "both hear from ports of the edge alone, each from another one",
                 self.path_to_human),
            Step("hang up", "the caller's BYE reaches the PBX and is answered", self.hang_up_human),
            Step("second call", "the agent is called again", self.call_agent),
            Step("refused transfer", "603 from the edge to a target without a rule; the caller never sees the REFER",
                 self.refused),
            Step("still in the call", "a re-INVITE of the agent is answered by the caller", self.still_up),
            Step("busy transfer", "202, then NOTIFY 486 at the agent: accepted is not completed", self.busy),
            Step("still talking", "the call with the agent is up: re-INVITE and audio", self.still_talking),
            Step("end", "the caller's BYE reaches the agent and is answered", self.hang_up_agent),
            Step("echo", f"the caller calls echo and hears itself ({CALLER_TONE} Hz)", self.echo),
            Step("audio counters", "the edge relayed what was sent, from nobody else, and its ports are free again",
                 self.counters_agree),
        )

    # --- round one: a blind transfer

    async def edge_answers(self) -> str:
        """The edge may be starting: a port that is closed is tried again until STARTING has passed."""
        call = Call(self.caller, 0)
        heard = "nothing"
        try:
            async with asyncio.timeout(STARTING):
                while heard != "OPTIONS 200":
                    out = self.caller.outgoing("OPTIONS", f"sip:{self.edge[0]}:{self.edge[1]}")
                    self.caller.send(out, self.edge, call)
                    heard = await call.next_event()
                    if heard == "OPTIONS unreachable":
                        await asyncio.sleep(RETRY)
        except TimeoutError:
            where = f"{self.edge[0]}:{self.edge[1]}"
            if heard == "nothing":
                raise Unexpected(f"no answer from {where} within {STARTING} s: no edge, or {self.caller.host} is not "
                                 "on its access list") from None
            raise Unexpected(f"no edge at {where}: {heard} within {STARTING} s. `sipedge run` starts one") from None
        finally:
            call.close()
        if self.statistics is not None:
            try:
                self._before = self.statistics()
            except OSError as error:
                self._unread = f"the edge's counters cannot be read: {error}"
        return f"200 from {self.edge[0]}:{self.edge[1]}"

    async def call_agent(self) -> str:
        self.stage.note("The caller calls the agent.")
        self.talk = self.caller.call(f"sip:agent@{self.edge[0]}:{self.edge[1]}", [(SECRET_HEADER, "4711")])
        await self.talk.expect("INVITE 200")
        self.seat = await self.agent.called(self.caller.own_uri)
        invite = request_of(self.seat)
        await self.seat.expect("ACK")
        header(invite, "X-Edge-Call", self.talk.own.call_id)
        header(invite, "X-Edge-From", CALLER_NUMBER)
        same(SECRET_HEADER, invite.headers(SECRET_HEADER), [])
        same("Vias at the agent", len(invite.headers("Via")), 2)
        same("Record-Routes at the agent", len(invite.headers("Record-Route")), 1)
        size = self.stage.show("INVITE at the agent", invite)
        return f"X-Edge-Call and X-Edge-From arrived, {SECRET_HEADER} did not; {size}"

    async def hear_agent(self) -> str:
        return await both_hear(self.talk, AGENT_TONE, self.seat, CALLER_TONE)

    async def path_to_agent(self) -> str:
        return self._path(self.talk, AGENT_TONE, self.seat, CALLER_TONE)

    def _path(self, one: Call, tone: int, other: Call, other_tone: int) -> str:
        """Through which ports the audio of two calls goes that are one to the edge."""
        ways = []
        for call, far in ((one, other), (other, one)):
            if call.rtp is None or call.rtp.agreed is None or far.rtp is None:
                raise Unexpected("a call without audio")
            told = call.rtp.agreed.remote
            if told == (far.phone.host, far.rtp.port):
                raise Unexpected(f"{call.phone.name} was told {told[0]}:{told[1]}, the other end itself")
            same(f"the source that {call.phone.name} hears", call.rtp.source, told)
            ways.append((f"{call.phone.name} {call.phone.host}:{call.rtp.port}", f"{told[0]}:{told[1]}"))
        if ways[0][1] == ways[1][1]:
            raise Unexpected(f"both were told {ways[0][1]}")
        text = (f"{ways[0][0]} <> {ways[0][1]} edge {ways[1][1]} <> {ways[1][0]}: {tone} Hz at the "
                f"{one.phone.name}, {other_tone} Hz at the {other.phone.name}")
        if self.stage.ladder is not None:
            self.stage.ladder.audio(text)
        return text

    async def refer_human(self) -> str:
        self.stage.note("The agent transfers the call to extension 2001.")
        return await self._refer(self.pbx_uri % "2001")

    async def _refer(self, target: str) -> str:
        """An accepted REFER, as the caller gets it."""
        self.seat.refer(target, [("X-Caller-Name", NAME)])
        try:
            refer = await self.talk.expect("REFER")
        except Unexpected as error:
            raise Unexpected(f"{error}; {self.agent.name}: came {self.seat.take_unheard()}") from None
        await self.seat.expect("REFER 202")
        header(refer, "X-Caller-Name", NAME)
        header(refer, "X-Customer-Intent", INTENT)
        value = refer.headers("Refer-To")
        same("Refer-To values", len(value), 1)
        uri = URI(value[0].strip().removeprefix("<").removesuffix(">").encode())
        same("the target", uri.replace(headers=()).render(), target)
        brought = uri.headers
        same("X-Caller-Name inside Refer-To", brought.get("X-Caller-Name"), NAME)
        same("X-Customer-Intent inside Refer-To", brought.get("X-Customer-Intent"), INTENT)
        size = self.stage.show("REFER at the caller", refer)
        return f"Refer-To brings {', '.join(brought)}; 202; {size}"

    async def progress(self) -> str:
        notify = await notified(self.seat)
        same("sipfrag", notify.status, 100)
        same("the subscription's end", notify.ended, False)
        return "100 Trying, active"

    async def arrives_at_pbx(self) -> str:
        self.desk = await self.pbx.called(self.caller.own_uri)
        invite = request_of(self.desk)
        same("the called extension", invite.uri, self.pbx_uri % "2001")
        header(invite, "X-Customer-Intent", INTENT)
        header(invite, "X-Caller-Name", NAME)
        header(invite, "X-Agent-Call", self.talk.own.call_id)
        sent = Sdp(self.caller.transferred.sdp if self.caller.transferred else b"").media[0]
        same("codecs from end to end", Sdp(invite.body).media[0].formats, sent.formats)
        size = self.stage.show("INVITE at the PBX", invite)
        if invite.size > BUDGET.limit:
            raise Unexpected(size)
        return f"X-Customer-Intent: {INTENT}, X-Caller-Name: {NAME}; {size}"

    async def completed(self) -> str:
        notify = await notified(self.seat)
        same("sipfrag", notify.status, 200)
        same("the subscription's end", notify.ended, True)
        return f"{notify.status} {notify.reason}, terminated"

    async def agent_leaves(self) -> str:
        self.seat.hang_up()
        await self.seat.expect("BYE 200")
        await self.talk.expect("BYE")
        if self.caller.transferred is None or not self.caller.transferred.up:
            raise Unexpected("the caller has no other call")
        return "200; the caller talks to 2001"

    async def hear_human(self) -> str:
        if self.caller.transferred is None:
            raise Unexpected("the caller has no other call")
        return await both_hear(self.caller.transferred, HUMAN_TONE, self.desk, CALLER_TONE)

    async def path_to_human(self) -> str:
        if self.caller.transferred is None:
            raise Unexpected("the caller has no other call")
        return self._path(self.caller.transferred, HUMAN_TONE, self.desk, CALLER_TONE)

    async def hang_up_human(self) -> str:
        if self.caller.transferred is None:
            raise Unexpected("the caller has no other call")
        self.caller.transferred.hang_up()
        await self.caller.transferred.expect("BYE 200")
        await self.desk.expect("BYE")
        return "200"

    # --- round two: transfers that fail

    async def refused(self) -> str:
        self.stage.note("The agent asks for a target that no rule allows.")
        seen = self.stage.seen["caller", "REFER"]
        self.seat.refer(self.pbx_uri % "9001")
        refusal = await self.seat.expect("REFER 603")
        same("REFERs at the caller", self.stage.seen["caller", "REFER"], seen)
        return f"{refusal.status} {refusal.reason}"

    async def still_up(self) -> str:
        self.seat.reinvite()
        again = await self.talk.expect("INVITE")
        answer = await self.seat.expect("INVITE 200")
        same("the dialog", answer.call_id, self.talk.own.call_id)
        return f"re-INVITE {again.cseq[0]}: 200"

    async def busy(self) -> str:
        self.stage.note("The agent transfers to extension 2002, which is busy.")
        await self._refer(self.pbx_uri % "2002")
        await self.pbx.called(self.caller.own_uri)
        first, last = await notified(self.seat), await notified(self.seat)
        same("the first NOTIFY", (first.status, first.ended), (100, False))
        same("the last NOTIFY", (last.status, last.ended), (486, True))
        return f"202, then {last.status} {last.reason}"

    async def still_talking(self) -> str:
        return f"{await self.still_up()}; {await self.hear_agent()}"

    async def hang_up_agent(self) -> str:
        self.talk.hang_up()
        await self.talk.expect("BYE 200")
        await self.seat.expect("BYE")
        return "200"

    # --- and the echo

    async def echo(self) -> str:
        self.stage.note("The caller calls echo.")
        call = self.caller.call(f"sip:echo@{self.edge[0]}:{self.edge[1]}")
        await call.expect("INVITE 200")
        if call.rtp is None or not await call.rtp.hears(CALLER_TONE):
            raise Unexpected("the caller does not hear itself")
        packets = call.rtp.received
        call.hang_up()
        await call.expect("BYE 200")
        return f"{CALLER_TONE} Hz, {packets} packets"

    async def counters_agree(self) -> str:
        """What is sent before the edge has seen the answer, or after the BYE, is not relayed: a few packets a call."""
        if self.statistics is None or self._unread:
            raise Impossible(self._unread)
        audio = [rtp for phone in self.stage.phones for rtp in phone.audio]
        sent, received = sum(rtp.sent for rtp in audio), sum(rtp.received for rtp in audio)
        found: dict[str, int] = {}
        try:
            async with asyncio.timeout(SETTLE):
                while not found or found["rtp_out"] < received or found["media_ports_used"]:
                    await asyncio.sleep(RETRY)
                    found = {name: value - (0 if name.endswith("_used") else self._before.get(name, 0))
                             for name, value in self.statistics().items()}
        except TimeoutError:
            raise Unexpected(f"the phones received {received} packets, the edge has sent {found['rtp_out']} and holds "
                             f"{found['media_ports_used']} pairs of ports") from None
        few = FEW * len(audio)
        if not sent - few <= found["rtp_in"] <= sent or not received <= found["rtp_out"] <= received + few:
            raise Unexpected(f"the phones sent {sent} and received {received} packets, the edge counts "
                             f"{found['rtp_in']} in and {found['rtp_out']} out")
        same("packets from a wrong source", found["rtp_wrong_source"], 0)
        return f"{found['rtp_in']} in, {found['rtp_out']} out, 0 from a wrong source; no port in use"
