"""Calls that the edge controls: a busy target, a warm handover with summary and extractors, and a blind one by REFER.

The agent has the HTTP API. Who hears whom is told by the packets: everybody speaks with a voice of their own, and what
none of them has said the edge itself has played.
"""
import asyncio
from pathlib import Path
from typing import Any

from sipcore.stack.referral import Progress
from sipcore.stack.referral import refer_to as target_of
from sipcore.wire.message import Message

from .api import Api
from .call import Unexpected
from .cast import AGENT_SAYS, CALLER_NUMBER, CALLER_SAYS, NAME, cast_voices
from .ears import ENOUGH, Ears, tape_of
from .report import Step
from .stage import BUDGET, SECRET_HEADER, Stage, header, notified, request_of, same
from .tape import STRANGER, Tape
from .voice import can_speak

CONTRACT = "K-4711"
INTENT = "billing question"
WHISPERED = 50
"""Loud packets that a whisper has at least."""
LONGEST_GAP = 1.0
"""Seconds without a packet while the caller is given another partner; a busy machine's jitter is in it."""
PATIENCE = 30
"""Seconds for all of a transfer."""
RETRY = 0.1
TERMINAL = ("completed", "failed", "cancelled", "unknown", "refused")


class Controlled:
    """The steps. recordings: the folder for what was said and heard."""

    def __init__(self, stage: Stage, api: Api, recordings: Path):
        self.stage = stage
        self.api = api
        self.recordings = recordings
        self.tapes: dict[str, Tape] = {}
        self.ears = Ears(stage.ladder)
        self.steps = (
            Step("services", "the HTTP API answers, and everybody has a voice", self.services),
            Step("controlled call", "the agent gets an INVITE of the edge's own: another Call-ID, one Via",
                 lambda: self.call_assistant("warm")),
            Step("conversation", "caller and agent hear each other, and nobody else", self.conversation),
            Step("context", "the API takes the transcript and a variable", self.context),
            Step("busy target", "202, then NOTIFY 486 at the agent; the edge called 2002 itself", self.busy_target),
            Step("agent goes on", "the caller was never touched, and still talks to the agent", self.agent_goes_on),
            Step("handover", "the agent's REFER is run by the edge: 202, NOTIFY 100", self.handover),
            Step("headers at the person", "the INVITE has the extractors' answers and the variable; size in budget",
                 self.headers_at_person),
            Step("whisper", "until NOTIFY 200, 2001 alone hears the summary, and caller and agent go on", self.whisper),
            Step("bridge", "caller and 2001 hear each other without a gap, the agent gets BYE", self.bridge),
            Step("handover's record", "completed; where each header came from; the verdict",
                 self.handover_record),
            Step("end of the handover", "the caller's BYE reaches 2001", self.end_warm),
            Step("another controlled call", "as the first one", lambda: self.call_assistant("blind")),
            Step("busy referral", "REFER from the edge, 202, 486: back to the agent", self.busy_referral),
            Step("referral", "the API starts a REFER in the caller's dialog; the caller's INVITE brings the context",
                 self.referral),
            Step("referral's record", "completed with 200; agent and old call have ended", self.referral_record),
            Step("caller and person", "caller and 2001 hear each other, and nobody else", self.caller_and_person),
            Step("recordings", "one file for each end of each call", self.keep),
        )

    # --- before

    async def services(self) -> str:
        self.stage.note("From here on the edge controls the calls: the agent speaks SIP and HTTP with it.")
        await self.api.ready()
        try:
            self.ears.voices = await asyncio.to_thread(cast_voices)
        except OSError as error:
            raise Unexpected(str(error)) from None
        voices = ("caller, agent and 2001 speak by espeak-ng" if can_speak() else
                  "espeak-ng is not installed: tones in the place of speech")
        self.stage.caller.voice, self.stage.assistant.voice, self.stage.pbx.voice = self.ears.voices
        return f"{self.api.url}; {voices}"

    # --- the warm one

    async def call_assistant(self, act: str) -> str:
        stage = self.stage
        stage.note("The caller calls the assistant, on a route with `control = true`.")
        self.talk = stage.caller.call(f"sip:assistant@{stage.edge[0]}:{stage.edge[1]}", [(SECRET_HEADER, "4711")])
        await self.talk.expect("INVITE 200")
        self.seat = await stage.assistant.called(stage.caller.own_uri)
        await self.seat.expect("ACK")
        invite = request_of(self.seat)
        if invite.call_id == self.talk.own.call_id:
            raise Unexpected("the agent's leg has the caller's Call-ID")
        same("Vias at the agent", len(invite.headers("Via")), 1)
        same("Record-Routes at the agent", len(invite.headers("Record-Route")), 0)
        same(SECRET_HEADER, invite.headers(SECRET_HEADER), [])
        header(invite, "X-Edge-From", CALLER_NUMBER)
        self.tapes |= {f"{act}-caller": tape_of(self.talk), f"{act}-agent": tape_of(self.seat)}
        page = await self.api.ask("GET", "/v1/calls", expected=200)
        self.call = next((one["id"] for one in page["calls"] for leg in one["legs"]
                          if leg["sip_call_id"] == invite.call_id), "")
        if not self.call:
            raise Unexpected("GET /v1/calls does not know the agent's call")
        return f"call {self.call}: two Call-IDs, two dialogs; {SECRET_HEADER} did not cross"

    async def conversation(self) -> str:
        caller, agent = tape_of(self.talk), tape_of(self.seat)
        return "; ".join(await asyncio.gather(self.ears.hears(caller, "agent"), self.ears.hears(agent, "caller")))

    async def context(self) -> str:
        self.stage.note("The agent gives the edge what was said, and what it knows.")
        turns = [{"role": "agent", "text": "Good morning, what can I do for you?"},
                 {"role": "caller", "text": CALLER_SAYS}, {"role": "agent", "text": AGENT_SAYS}]
        await self.api.ask("POST", f"/v1/calls/{self.call}/transcript", {"turns": turns}, expected=204)
        found = await self.api.ask("PATCH", f"/v1/calls/{self.call}/variables", {"contract": CONTRACT}, expected=200)
        same("the variable", found["variables"].get("contract"), CONTRACT)
        return f"{len(turns)} turns, contract = {CONTRACT}"

    async def _refer(self, user: str) -> None:
        """The agent's REFER is taken over by the edge."""
        self.seat.refer(self.stage.pbx_uri % user)
        await self.seat.expect("REFER 202")
        first = await notified(self.seat)
        same("the first NOTIFY", (first.status, first.ended), (100, False))

    async def _told(self) -> Progress:
        """The final NOTIFY; what comes before it is progress."""
        async with asyncio.timeout(PATIENCE):
            while not (progress := await notified(self.seat, PATIENCE)).ended:
                pass
        return progress

    async def busy_target(self) -> str:
        self.stage.note("The agent hands the caller over to extension 2002, which is busy.")
        self._began = asyncio.get_running_loop().time()
        self._seen = self.stage.seen.copy()
        await self._refer("2002")
        await self.stage.pbx.called(self._assistant_uri, PATIENCE)
        last = await self._told()
        same("the last NOTIFY", last.status, 486)
        found = await self.api.ask("GET", f"/v1/calls/{self.call}", expected=200)
        transfer = found["transfers"][-1]
        same("the transfer", (transfer["state"], transfer["status"], transfer["fell_back"]), ("failed", 486, "return"))
        return self._verdict(transfer)

    @property
    def _assistant_uri(self) -> str:
        """Who calls, as the target of a warm transfer sees it: the one that the caller had called."""
        return f"sip:assistant@{self.stage.edge[0]}:{self.stage.edge[1]}"

    def _verdict(self, transfer: dict[str, Any]) -> str:
        verdict: str = transfer["verdict"]
        if not verdict:
            raise Unexpected("a transfer without a verdict")
        if self.stage.ladder is not None:
            self.stage.ladder.verdict(verdict)
        return verdict

    async def agent_goes_on(self) -> str:
        for end in ("caller", "agent"):
            same(f"requests at the {end}", self._requests(end, self._seen), set())
        caller, agent = tape_of(self.talk), tape_of(self.seat)
        if not await caller.more(ENOUGH, PATIENCE):
            raise Unexpected("the caller hears nothing")
        return (f"{self.ears.heard(caller, 'agent', self._began)}; {self.ears.heard(agent, 'caller', self._began)}; "
                f"no request in the caller's dialog")

    def _requests(self, end: str, before: Any) -> set[str]:
        """What that end was sent since then, but for the NOTIFYs that it has asked for."""
        return {method for name, method in self.stage.seen - before if name == end} - {"NOTIFY"}

    async def handover(self) -> str:
        self.stage.note("The agent hands the caller over to extension 2001.")
        await self._refer("2001")
        return "202, 100 Trying"

    async def headers_at_person(self) -> str:
        self.desk = await self.stage.pbx.called(self._assistant_uri, PATIENCE)
        invite = request_of(self.desk)
        size = self.stage.show("INVITE at the PBX", invite)
        same("the called extension", invite.uri, self.stage.pbx_uri % "2001")
        self._context_of(invite)
        header(invite, "X-Customer-Number", CALLER_NUMBER)
        same(SECRET_HEADER, invite.headers(SECRET_HEADER), [])
        if invite.call_id in (self.talk.own.call_id, self.seat.own.call_id):
            raise Unexpected("the target's leg has a Call-ID of another one")
        if invite.size > BUDGET.limit:
            raise Unexpected(size)
        await self.desk.expect("ACK")
        self.tapes["warm-human"] = tape_of(self.desk)
        return f"X-Customer-Intent: {INTENT}, X-Caller-Name: {NAME}, X-Contract: {CONTRACT}; {size}"

    def _context_of(self, invite: Message) -> None:
        header(invite, "X-Customer-Intent", INTENT)
        header(invite, "X-Caller-Name", NAME)
        header(invite, "X-Contract", CONTRACT)

    async def whisper(self) -> str:
        last = await self._told()
        same("the last NOTIFY", (last.status, last.reason), (200, "OK"))
        caller, agent, human = tape_of(self.talk), tape_of(self.seat), tape_of(self.desk)
        if not all(await asyncio.gather(caller.more(ENOUGH, PATIENCE), human.more(ENOUGH, PATIENCE))):
            raise Unexpected("no audio after the bridge")
        heard = human.speakers(self.ears.voices)
        self._joined = next((at for at, name in heard if name != STRANGER), 0.0)
        if not self._joined:
            raise Unexpected("2001 never hears the caller")
        alone = self.ears.heard(human, STRANGER, until=self._joined, least=WHISPERED, when="before the bridge")
        began, ended = heard[0][0], max(at for at, name in heard if name == STRANGER)
        return f"{alone}; meanwhile {self.ears.heard(caller, 'agent', began, ended, when='meanwhile')}, " \
               f"{self.ears.heard(agent, 'caller', began, ended, when='meanwhile')}"

    async def bridge(self) -> str:
        await self.seat.expect("BYE")
        caller, human = tape_of(self.talk), tape_of(self.desk)
        switched = next((at for at, name in caller.speakers(self.ears.voices) if name == "human"), 0.0)
        if not switched:
            raise Unexpected("the caller never hears 2001")
        self.ears.heard(caller, "agent", until=switched, when="from the beginning to the bridge")
        found = "; ".join((self.ears.heard(caller, "human", switched, when="after the bridge"),
                           self.ears.heard(human, "caller", self._joined, when="after the bridge")))
        self.ears.heard(tape_of(self.seat), "caller", when="from the beginning to its end")
        gap = caller.longest_gap(switched - 0.5, switched + 0.5)
        if gap > LONGEST_GAP:
            raise Unexpected(f"the caller heard nothing for {1000 * gap:.0f} ms")
        return f"{found}; longest gap at the caller {1000 * gap:.0f} ms"

    async def handover_record(self) -> str:
        found = await self.api.ask("GET", f"/v1/calls/{self.call}", expected=200)
        transfer = found["transfers"][-1]
        same("the transfer", (transfer["state"], transfer["status"]), ("completed", 200))
        same("legs", [leg["role"] for leg in found["call"]["legs"]], ["caller", "target"])
        sources = {one["name"]: one["source"] for one in transfer["extracted"]}
        same("sources", {name: sources.get(name) for name in ("X-Customer-Intent", "X-Caller-Name")},
             {"X-Customer-Intent": "model", "X-Caller-Name": "model"})
        summary = next((one["value"] for one in transfer["extracted"] if one["name"] == "summary"), "")
        if can_speak() and NAME not in summary:
            raise Unexpected(f"the summary is {summary!r}")
        return f"{self._verdict(transfer)} {transfer['budget']}; by the model: {', '.join(sources)}" + (
            f'; 2001 heard "{summary}"' if summary else "")

    async def end_warm(self) -> str:
        self.talk.hang_up()
        await self.talk.expect("BYE 200")
        await self.desk.expect("BYE")
        return "200"

    # --- the blind one

    async def _start(self, user: str) -> tuple[str, Message]:
        """Start a referral by the API; its id, and the REFER that the caller got."""
        started = await self.api.ask("POST", f"/v1/calls/{self.call}/transfer",
                                     {"action": "referral", "target": self.stage.pbx_uri % user}, expected=202)
        refer = await self.talk.expect("REFER", PATIENCE)
        target = target_of(refer)
        brought = dict(target.headers)
        same("the target", target.uri, self.stage.pbx_uri % user)
        same("X-Customer-Intent inside Refer-To", brought.get("X-Customer-Intent"), INTENT)
        same("X-Caller-Name inside Refer-To", brought.get("X-Caller-Name"), NAME)
        same("the dialog", refer.call_id, self.talk.own.call_id)
        return started["id"], refer

    async def _outcome(self, transfer: str) -> dict[str, Any]:
        """The record of a transfer, when it is over."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found: dict[str, Any] = await self.api.ask("GET", f"/v1/transfers/{transfer}", expected=200)
                if found["state"] in TERMINAL:
                    return found
                await asyncio.sleep(RETRY)

    async def busy_referral(self) -> str:
        await self.context()
        self.stage.note("The agent has the caller referred to extension 2002, which is busy.")
        transfer, _ = await self._start("2002")
        await self.stage.pbx.called(self.stage.caller.own_uri, PATIENCE)
        found = await self._outcome(transfer)
        same("the transfer", (found["state"], found["accepted"], found["status"], found["fell_back"]),
             ("failed", True, 486, "return"))
        again = await self.ears.hears(tape_of(self.talk), "agent")
        return f"{self._verdict(found)} {again[:1].upper()}{again[1:]}"

    async def referral(self) -> str:
        self.stage.note("The agent has the caller referred to extension 2001.")
        self._transfer, refer = await self._start("2001")
        size = self.stage.show("REFER at the caller", refer)
        self.desk = await self.stage.pbx.called(self.stage.caller.own_uri, PATIENCE)
        self._context_of(request_of(self.desk))
        await self.desk.expect("ACK")
        return f"X-Customer-Intent: {INTENT}, X-Caller-Name: {NAME} on the caller's INVITE; {size}"

    async def referral_record(self) -> str:
        found = await self._outcome(self._transfer)
        same("the transfer", (found["state"], found["accepted"], found["status"]), ("completed", True, 200))
        await self.seat.expect("BYE")
        await self.talk.expect("BYE")
        return self._verdict(found)

    async def caller_and_person(self) -> str:
        moved = self.stage.caller.transferred
        if moved is None or not moved.up:
            raise Unexpected("the caller has no other call")
        self.tapes |= {"blind-caller-transferred": tape_of(moved), "blind-human": tape_of(self.desk)}
        found = "; ".join(await asyncio.gather(
            self.ears.hears(tape_of(moved), "human"), self.ears.hears(tape_of(self.desk), "caller")))
        moved.hang_up()
        await moved.expect("BYE 200")
        await self.desk.expect("BYE")
        return found

    # --- after

    async def keep(self) -> str:
        try:
            self.recordings.mkdir(parents=True, exist_ok=True)
            lengths = await asyncio.to_thread(lambda: {
                name: tape.write(self.recordings / f"{name}.wav") for name, tape in self.tapes.items()})
        except OSError as error:
            raise Unexpected(f"{self.recordings}: {error.strerror}") from None
        if short := [name for name, seconds in lengths.items() if seconds < 1]:
            raise Unexpected(f"nothing on {', '.join(short)}")
        return f"{self.recordings}: " + ", ".join(f"{name}.wav ({seconds:.0f} s)" for name, seconds in lengths.items())
