"""Every way a transfer can fail, under every rule of what follows then: who is called next, who is hung up on, what the
record, the referrer and the verdict say. On wire bytes."""
from collections.abc import Callable
from typing import Any

import pytest

from proxy.config import Whisper
from proxy.events import AskSpeech

from .referring import sipfrag_of
from .scene import notify
from .stage import OTHER, TO, Stage


@pytest.fixture
def stage():
    with Stage(unreachable=True) as stage:
        yield stage


# --- blind: the caller's server fails, or says nothing


def refuse(stage: Stage, one: Any, refer: Any) -> None:
    stage.caller.answer(refer, 420, reason="Bad Extension")


def never_answer(stage: Stage, one: Any, refer: Any) -> None:
    stage.run(32_100)


def busy(stage: Stage, one: Any, refer: Any) -> None:
    stage.caller.answer(refer, 202)
    stage.run()
    notify(one, 486, "Busy Here")


def unavailable(stage: Stage, one: Any, refer: Any) -> None:
    stage.caller.answer(refer, 200)
    stage.run()
    notify(one, 100, "Trying")
    notify(one, 503, "Service Unavailable")


def never_notify(stage: Stage, one: Any, refer: Any) -> None:
    stage.caller.answer(refer, 202)
    stage.run(32_100)


def end_without_saying(stage: Stage, one: Any, refer: Any) -> None:
    stage.caller.answer(refer, 202)
    stage.run()
    notify(one, 100, "Trying", state="terminated;reason=noresource")


BLIND: dict[str, tuple[Callable[[Stage, Any, Any], None], str, int, str]] = {
    "refused": (refuse, "failed", 420, "The caller's server did not take the REFER to 2001 (420 Bad Extension)"),
    "no answer to REFER": (never_answer, "failed", 408, "The caller's server did not answer the REFER to 2001 (408)"),
    "busy": (busy, "failed", 486, "The caller's server accepted the REFER, its call to 2001 was busy (486)"),
    "unavailable": (unavailable, "failed", 503, "The caller's server accepted the REFER, its call to 2001 found no "
                                                "way (503)"),
    "no NOTIFY": (never_notify, "unknown", 408, "The caller's server accepted the REFER to 2001 and never said what "
                                                "came of it"),
    "no final NOTIFY": (end_without_saying, "unknown", 408, "The caller's server accepted the REFER to 2001 and never "
                                                            "said what came of it"),
}


def fail(stage: Stage, how: str, **fields: Any) -> Any:
    """A blind transfer that fails that way; the caller's dialog."""
    one, _ = stage.up()
    action = stage.warm(mode="blind", **fields)
    assert stage.start(action).status == 202
    BLIND[how][0](stage, one, stage.caller.take("REFER"))
    stage.run()
    return one


class TestBlind:
    @pytest.mark.parametrize("how", BLIND)
    def test_end(self, stage, how):
        fail(stage, how, on_failure="end")
        _, state, status, verdict = BLIND[how]
        record = stage.services.transfer()
        assert (record.state, record.status, record.fell_back) == (state, status, "end")
        assert record.verdict == f"{verdict}, the call ended."
        for phone in (stage.caller, stage.agent):
            phone.answer([one for one in phone.received() if one.name == "BYE"][-1], 200)

    @pytest.mark.parametrize("how", BLIND)
    def test_return(self, stage, how):
        one = fail(stage, how, on_failure="return")
        _, state, status, verdict = BLIND[how]
        record = stage.services.transfer()
        assert (record.state, record.status, record.fell_back) == (state, status, "return")
        assert record.verdict == f"{verdict}, the caller went back to the agent."
        assert stage.agent.names() == []
        assert "BYE" not in stage.caller.names()
        stage.hang_up(one, stage.agent)

    @pytest.mark.parametrize("how", BLIND)
    def test_bridge(self, stage, how):
        one = fail(stage, how, on_failure="bridge")
        _, state, _, verdict = BLIND[how]
        if state == "unknown":
            # The target may have been called: nobody calls it twice.
            assert stage.target.names() == []
            assert stage.services.transfer().fell_back == "return"
            stage.hang_up(one, stage.agent)
            return
        stage.target.answer(stage.target.take("INVITE"), 480, reason="Gone Home")
        stage.run()
        record = stage.services.transfer()
        assert (record.state, record.status, record.reason, record.fell_back) == (
            "failed", 480, "Gone Home", "return")
        assert record.verdict == (
            f"{verdict}, then the call to 2001 found nobody (480), the caller went back to the agent.")
        stage.hang_up(one, stage.agent, stage.target)

    @pytest.mark.parametrize("how", BLIND)
    def test_next(self, stage, how):
        one = fail(stage, how, on_failure="next", targets=(TO, OTHER))
        _, state, status, _ = BLIND[how]
        refers = [received for received in stage.caller.received() if received.name == "REFER"]
        if state == "unknown":
            assert refers == []
        else:
            assert [refer.header("Refer-To") for refer in refers if refer.header("Refer-To") != f"<{TO}>"] == [
                f"<{OTHER}>"]
            stage.caller.answer(refers[-1], 603)
            stage.run()
        record = stage.services.transfer()
        assert (record.state, record.status) == ((state, status) if state == "unknown" else ("failed", 603))
        assert "BYE" not in stage.agent.names()
        stage.hang_up(one, stage.agent)


# --- warm: the target fails


def reject(status: int, reason: str) -> Callable[[Stage, Any], None]:
    def do(stage: Stage, invite: Any) -> None:
        stage.target.answer(invite, 180)
        stage.target.answer(invite, status, reason=reason)
        stage.run()
    return do


def ring_for_ever(stage: Stage, invite: Any) -> None:
    stage.target.answer(invite, 180)
    stage.run(20_001)
    stage.target.answer(invite, 487)


def hang_up_at_once(stage: Stage, invite: Any) -> None:
    stage.pick_up(invite).send("BYE")


def decline(stage: Stage, invite: Any) -> None:
    stage.services.answer(AskSpeech, error="no speech")
    stage.pick_up(invite).send("INFO", body=b"Signal=2\r\n", headers=[("Content-Type", "application/dtmf-relay")])


def press_nothing(stage: Stage, invite: Any) -> None:
    stage.services.answer(AskSpeech, error="no speech")
    stage.pick_up(invite)
    stage.run(15_001)


KEYS = Whisper(text="Press 1", accept="1", decline="2")
WARM: dict[str, tuple[Callable[[Stage, Any], None], Whisper | None, int, str]] = {
    "busy": (reject(486, "Busy Here"), None, 486, "The call to 2001 was busy (486)"),
    "declined": (reject(603, "Decline"), None, 603, "The call to 2001 was declined (603)"),
    "overloaded": (reject(503, "Maintenance"), None, 503, "The call to 2001 found no way (503)"),
    "a status of its own": (reject(499, "Closed Today"), None, 499, "The call to 2001 failed: Closed Today (499)"),
    "no answer": (ring_for_ever, None, 408, "2001 did not answer within 20 s"),
    "hung up": (hang_up_at_once, Whisper(text="Hello"), 480, "2001 answered and hung up"),
    "declined by key": (decline, KEYS, 603, "2001 declined by key"),
    "no key": (press_nothing, KEYS, 480, "2001 answered and pressed no key"),
}


class TestWarm:
    def begin(self, stage: Stage, how: str, **fields: Any) -> Any:
        do, whisper, _, _ = WARM[how]
        one, _, invite = stage.begin(stage.warm(ring_timeout=20.0, whisper=whisper, **fields))
        do(stage, invite)
        stage.run()
        for received in stage.target.received():
            if received.name in ("BYE", "CANCEL"):
                stage.target.answer(received, 200)
        stage.run()
        return one

    @pytest.mark.parametrize("how", WARM)
    def test_return(self, stage, how):
        one = self.begin(stage, how)
        _, _, status, verdict = WARM[how]
        record = stage.services.transfer()
        assert (record.state, record.status, record.fell_back) == ("failed", status, "return")
        assert record.verdict == f"{verdict}, the caller stayed with the agent."
        # Not one message in the call of caller and agent.
        assert (stage.caller.names(), stage.agent.names()) == ([], [])
        stage.hang_up(one, stage.agent)

    @pytest.mark.parametrize("how", WARM)
    def test_end(self, stage, how):
        self.begin(stage, how, on_failure="end")
        _, _, status, verdict = WARM[how]
        record = stage.services.transfer()
        assert (record.state, record.status, record.fell_back) == ("failed", status, "end")
        assert record.verdict == f"{verdict}, the call ended."
        for phone in (stage.caller, stage.agent):
            phone.answer(phone.take("BYE"), 200)

    @pytest.mark.parametrize("how", WARM)
    def test_next(self, stage, how):
        one = self.begin(stage, how, on_failure="next", targets=(TO, OTHER))
        _, _, _, verdict = WARM[how]
        stage.second.answer(stage.second.take("INVITE"), 404, reason="Not Found")
        stage.run()
        record = stage.services.transfer()
        assert (record.state, record.status, record.target) == ("failed", 404, OTHER)
        assert record.verdict == (f"{verdict}, then the call to 2002 led to a number that does not exist (404), the "
                                  "caller stayed with the agent.")
        assert (stage.caller.names(), stage.agent.names()) == ([], [])
        stage.hang_up(one, stage.agent)


class TestTheReferrerIsTold:
    """What the agent's REFER hears of a warm transfer that fails: 202, 100, then the outcome as the target gave it."""

    @pytest.mark.parametrize(("status", "reason"), [(486, "Busy Here"), (499, "Closed Today"), (600, "Nowhere")])
    def test_the_final_notify_has_the_targets_own_words(self, status, reason):
        text = (f'[[transfer]]\nname = "desk"\nmode = "warm"\ntargets = ["{TO}"]\n'
                '[[refer]]\ngroups = ["agents"]\naction = "run"\ntransfer = "desk"\n')
        with Stage(text) as stage:
            one, other = stage.up()
            other.send("REFER", headers=[("Refer-To", "<sip:desk@192.0.2.1>")])
            stage.run()
            accepted, first = stage.agent.received()
            assert (accepted.name, sipfrag_of(first)) == ("202", "SIP/2.0 100 Trying")
            stage.agent.answer(first, 200)
            stage.target.answer(stage.target.take("INVITE"), status, reason=reason, headers=[("Retry-After", "60")])
            stage.run()
            final = stage.agent.take("NOTIFY")
            assert sipfrag_of(final) == f"SIP/2.0 {status} {reason}"
            assert final.header("Subscription-State") == "terminated;reason=noresource"
            stage.agent.answer(final, 200)
            stage.run()
            stage.hang_up(one, stage.agent)
