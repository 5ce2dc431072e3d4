"""The sentences that transfer records end with."""
import pytest

from proxy.calls.table import Event, start
from proxy.calls.verdicts import Attempt, sentence, short

PBX = "sip:2001@192.0.2.30"
BLIND, WARM = start("blind", "return", 1), start("warm", "", 1)


@pytest.mark.parametrize(("status", "attempts", "text"), [
    (BLIND._replace(state="failed", fell_back="return"),
     [Attempt(PBX, True, Event.NOTIFY_FAILED, 486, "Busy Here", accepted=True)],
     "The caller's server accepted the REFER, its call to 2001 was busy (486), the caller went back to the agent."),
    (BLIND._replace(state="failed", fell_back="end"), [Attempt(PBX, True, Event.REFER_REFUSED, 603, "Decline")],
     "The caller's server did not take the REFER to 2001 (603 Decline), the call ended."),
    (BLIND._replace(state="completed"), [Attempt(PBX, True, Event.NOTIFY_OK, 200, "OK", accepted=True)],
     "The caller's server accepted the REFER, 2001 answered (200), the caller is connected there."),
    (BLIND._replace(state="unknown", fell_back="return"), [Attempt(PBX, True, Event.NOTIFY_NONE, accepted=True)],
     "The caller's server accepted the REFER to 2001 and never said what came of it, the caller went back to the "
     "agent."),
    (BLIND._replace(state="unknown", caller=False), [Attempt(PBX, True, Event.CALLER_GONE, accepted=True)],
     "The caller's server accepted the REFER to 2001 and hung up without saying what came of it, nobody was left to "
     "transfer."),
    (WARM._replace(state="completed"), [Attempt(PBX, False, Event.BRIDGED, 200)],
     "2001 answered, the caller is connected there."),
    (WARM._replace(state="failed"), [Attempt(PBX, False, Event.RING_TIMEOUT, 408, seconds=30.0),
                                     Attempt("sip:2002@192.0.2.30", False, Event.TARGET_FAILED, 486)],
     "2001 did not answer within 30 s, then the call to 2002 was busy (486), the caller stayed with the agent."),
    (WARM._replace(state="failed"), [Attempt(PBX, False, Event.TARGET_FAILED, 499, "Odd")],
     "The call to 2001 failed: Odd (499), the caller stayed with the agent."),
    (WARM._replace(state="cancelled", caller=False), [Attempt(PBX, False, Event.CALLER_GONE)],
     "The caller hung up before 2001 had taken the call, nobody was left to transfer."),
    (WARM._replace(state="failed", agent=False, fell_back="end"), [Attempt(PBX, False, Event.KEY_DECLINE, 603)],
     "2001 declined by key, the call ended."),
    (WARM._replace(state="failed"), [], "What the transfer needs could not be prepared, the caller stayed with the "
                                        "agent."),
])
def test_sentences(status, attempts, text):
    assert sentence(status, attempts) == text


def test_a_reason_of_its_own():
    status = WARM._replace(state="failed")
    assert sentence(status, [], "X-Plan has no {plan}") == "X-Plan has no {plan}, the caller stayed with the agent."


@pytest.mark.parametrize(("target", "name"), [
    ("sip:2001@192.0.2.1:5060", "2001"), ("tel:+491234", "+491234"), ("sip:192.0.2.1", "192.0.2.1"),
    ("internal-ext-1", "internal-ext-1"), ("sip:2001;x=1@h", "2001"), ("<sip:anna@example.com?Replaces=1>", "anna"),
])
def test_targets_as_people_say_them(target, name):
    assert short(target) == name


@pytest.mark.parametrize("event", list(Event))
@pytest.mark.parametrize("referred", [True, False])
def test_there_is_a_sentence_for_everything(event, referred):
    for state in ("completed", "failed", "cancelled", "unknown"):
        text = sentence(BLIND._replace(state=state), [Attempt(PBX, referred, event, 500, "Odd")])
        assert "2001" in text
        assert text.endswith(".")
        assert "  " not in text
