"""Context by reference on transfers (transfers.md section 4), between SIPp and the HTTP API."""
import re
from urllib.parse import unquote

from tests.scenarios.controlled import SUMMARY, caller, fragments, referring, target

CONTEXT = {"X-Customer-Intent": "billing question", "X-Summary": SUMMARY}


def test_a_warm_transfer_whose_context_the_invite_has_no_room_for(controlled, records, api):
    answering = controlled.callee(target().ring().on_cue().accept().expect("ACK").hung_up(), host=4)
    one = controlled.callee(referring("big", controlled.net).answer("NOTIFY").expect("NOTIFY").pause(200).reply(200)
                            .hung_up())
    other = controlled.start(caller().on_cue().hang_up(), user="anchored")
    controlled.cue(answering, lambda: len(fragments(one)) == 2, "the agent knows that it rings")
    controlled.cue(other, lambda: one.ended, "the agent is let go")
    controlled.finish()
    assert fragments(one) == ["100 Trying", "180 Ringing", "200 OK"]
    invite = answering.received("INVITE")[0]
    (token,) = invite.values("X-Context-Ref")
    assert (invite.values("X-Customer-Intent"), invite.values("X-Summary")) == (["billing question"], [])
    for _ in range(2):
        assert api.get(f"/v1/context/{token}")["headers"] == CONTEXT
    (record,) = records()
    assert [(one["name"], one["where"]) for one in record["headers"]] == [
        ("X-Context-Ref", "header"), ("X-Customer-Intent", "header"), ("X-Summary", "reference")]
    (step,) = [step["detail"] for step in record["steps"] if step["what"] == "size"]
    assert re.fullmatch(r"[\d,]+ of [\d,]+ bytes: dropped X-Summary, X-Summary by reference; now [\d,]+", step)
    size, limit, now = (int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", step))
    assert now == invite.size <= limit < size
    assert token not in str(record)


def test_a_blind_transfer_takes_the_token_along_to_the_target(controlled, records, api):
    """The caller's server gets it inside Refer-To, and puts it on the INVITE that it sends (RFC 3261 19.1.5)."""
    controlled.callee(referring("bigblind", controlled.net).answer("NOTIFY").hung_up())
    one = controlled.caller(caller().expect("REFER").reply(202).notify(200).expect(200).hung_up(), user="agent")
    refer = one.received("REFER")[0]
    (value,) = refer.values("Refer-To")
    found = re.search(r"\?X-Context-Ref=([\w-]{36})&X-Customer-Intent=([^&>]*)>", value)
    assert found is not None
    assert unquote(found[2]) == "billing question"
    assert api.get(f"/v1/context/{found[1]}")["headers"] == CONTEXT
    assert records()[0]["state"] == "completed"
