"""Blind transfers that the edge runs, with peers that do as they like: rows of section 3, 5 and 7 of the requirement.

The agent sends REFER, the edge sends its own REFER in the caller's dialog. The agent's side of each scenario is the
strict one: SIPp ends it with an error at the first message that it does not expect then.
"""
import pytest

from tests.scenarios.controlled import agent, caller, fragments, refer_to, referring
from tests.scenarios.script import Called, Calling

CHALLENGE = 'Digest realm="pbx", nonce="84f1c1ae6cbe5ua9c8e88dfa3ecm3459", algorithm=MD5'


def accepting() -> Calling:
    """A caller whose server takes the REFER, and says so."""
    return caller().expect("REFER").reply(202).notify(100).expect(200)


def test_a_blind_transfer_that_completes(controlled, records):
    """202 and completed are two things, and BYE comes after the final NOTIFY was answered (rows 1 and 5)."""
    transferring = referring("blind", controlled.net).answer("NOTIFY")
    # What comes while it keeps its answer back, SIPp does not expect.
    transferring.expect("NOTIFY").pause(300).reply(200).hung_up()
    one = controlled.callee(transferring)
    telling = accepting().notify(180).expect(200).on_cue().notify(200).expect(200).hung_up()
    other = controlled.start(telling, user="agent")
    controlled.cue(other, lambda: len(fragments(one)) == 2, "the agent knows that it rings")
    controlled.finish()
    assert fragments(one) == ["100 Trying", "180 Ringing", "200 OK"]
    assert [note.values("Subscription-State")[0].partition(";")[0] for note in one.received("NOTIFY")] == [
        "active", "active", "terminated"]
    assert len(other.received("REFER")) == 1
    record = records()[0]
    assert (record["accepted"], record["state"], record["status"]) == (True, "completed", 200)
    assert record["verdict"].startswith("The caller's server accepted the REFER, blind answered (200), ")


def test_context_goes_on_the_refer_and_internal_headers_do_not(controlled):
    """Row 10: both on wire bytes."""
    one = controlled.callee(referring("blind", controlled.net, "X-Internal-Secret: 4711").answer("NOTIFY").hung_up())
    first = caller("X-Internal-Account: 4712").expect("REFER").reply(202).notify(200).expect(200).hung_up()
    other = controlled.caller(first, user="agent")
    refer, call_id = other.received("REFER")[0], other.seen()[0].values("Call-ID")[0]
    assert refer.values("X-Customer-Intent") == ["billing question"]
    assert refer.values("X-Call") == [call_id]
    value, = refer.values("Refer-To")
    assert value.startswith(f"<sip:blind@{controlled.net}.4:5070?")
    assert "X-Customer-Intent=billing%20question" in value
    assert "%25" not in value
    assert "X-Internal" not in one.received("INVITE")[0].text + refer.text
    assert refer.values("Call-ID") == [call_id]
    assert f"sip:{controlled.net}.1:5060" in refer.values("Contact")[0]


def test_202_and_silence(controlled, records):
    """Row 2: a bounded wait, then `unknown`; never success, and nobody hangs."""
    one = controlled.callee(referring("blind", controlled.net).expect("NOTIFY", within=60_000).reply(200).hung_up())
    controlled.caller(caller().expect("REFER").reply(202).hung_up(), user="agent")
    assert fragments(one)[0] == "100 Trying"
    assert not fragments(one)[1].startswith("2")
    record = records()[0]
    assert (record["accepted"], record["state"]) == (True, "unknown")
    assert "never said what came of it" in record["verdict"]


def test_bye_right_after_202(controlled, records):
    """Row 4: the agent may go, the transfer goes on."""
    leaving = agent().request("REFER", refer_to("blind", controlled.net)).expect(202)
    leaving.request("BYE", repeat=False).answer("NOTIFY").expect(200).answer("NOTIFY")
    one = controlled.callee(leaving)
    other = controlled.start(accepting().on_cue().notify(200).expect(200).hung_up(), user="agent")
    controlled.cue(other, lambda: one.received("SIP/2.0 200"), "the agent has gone")
    controlled.finish()
    assert fragments(one) == ["100 Trying", "200 OK"]
    assert records()[0]["state"] == "completed"


def test_final_notify_and_bye_together(controlled, records):
    """Neither waits for an answer, and BYEs may cross."""
    one = controlled.callee(referring("blind", controlled.net).answer("NOTIFY").hung_up())
    both = accepting().notify(200, repeat=False).request("BYE", repeat=False).on_cue()
    other = controlled.start(both, user="agent", tolerant=True)

    def answered() -> list[str]:
        return [answer.values("CSeq")[0] for answer in other.received("SIP/2.0 200")[-2:]]

    controlled.cue(other, lambda: "4 BYE" in answered(), "the BYE is answered")
    controlled.finish()
    assert fragments(one) == ["100 Trying", "200 OK"]
    assert answered() == ["3 NOTIFY", "4 BYE"]
    assert records()[0]["state"] == "completed"


def test_notify_after_bye(controlled, records):
    """Row 6: the subscription lives longer than the call."""
    one = controlled.callee(referring("blind", controlled.net).answer("NOTIFY").hung_up())
    controlled.caller(accepting().hang_up().notify(200).expect(200), user="agent")
    assert fragments(one) == ["100 Trying", "200 OK"]
    assert records()[0]["state"] == "completed"


def test_bye_without_a_final_notify(controlled, records):
    """Row 6: nobody knows what came of it."""
    one = controlled.callee(referring("blind", controlled.net).expect("NOTIFY", within=60_000).reply(200).hung_up())
    controlled.caller(accepting().hang_up(), user="agent")
    assert not fragments(one)[1].startswith("2")
    assert records()[0]["state"] == "unknown"


def test_notify_before_the_202(controlled, records):
    """Row 6: a NOTIFY may come before the REFER's own answer, and so may the last one."""
    one = controlled.callee(referring("blind", controlled.net).answer("NOTIFY").hung_up())
    hasty = caller().expect("REFER", keep="refer").notify(100).expect(200).reply(202, to="refer")
    controlled.caller(hasty.notify(200).expect(200).hung_up(), user="agent")
    assert fragments(one) == ["100 Trying", "200 OK"]
    assert records()[0]["state"] == "completed"


def test_a_late_notify_is_answered_and_a_strange_one_is_not(controlled):
    """Row 6: 200 for a subscription that was, 481 for one that never was."""
    controlled.callee(referring("blind", controlled.net).answer("NOTIFY").hung_up())
    late = accepting().request("NOTIFY", "Event: refer;id=4711", "Subscription-State: active;expires=60",
                               kind="message/sipfrag", body="SIP/2.0 200 OK\n").expect(481)
    controlled.caller(late.notify(200).expect(200).hung_up().notify(200).expect(200), user="agent")


@pytest.mark.parametrize(("status", "headers"), [
    (603, ()), (420, ("Unsupported: norefersub",)), (403, ()), (405, ("Allow: INVITE, ACK, BYE, CANCEL",)),
    (401, (f"WWW-Authenticate: {CHALLENGE}",)), (407, (f"Proxy-Authenticate: {CHALLENGE}",)),
])
def test_a_refused_refer_is_told_as_it_was_and_the_call_goes_on(controlled, records, status, headers):
    """Row 18, and row 15 as long as there are no credentials: the far end's status arrives unchanged."""
    one = controlled.callee(referring("return", controlled.net).answer("NOTIFY").pause(100).hang_up())
    controlled.caller(caller().expect("REFER").reply(status, *headers).hung_up(), user="agent")
    assert fragments(one)[1].startswith(f"{status} ")
    assert records()[0]["state"] == "failed"


def test_a_refused_refer_ends_the_call_where_nothing_else_is_said(controlled, records):
    """Section 5, blind: the default."""
    one = controlled.callee(referring("blind", controlled.net).answer("NOTIFY").hung_up())
    controlled.caller(caller().expect("REFER").reply(603).hung_up(), user="agent")
    assert fragments(one)[1] == "603 Decline"
    assert records()[0]["state"] == "failed"


def test_a_refer_to_a_call_that_the_far_end_has_forgotten(controlled):
    """481 ends the caller's dialog (RFC 3261 12.2.1.2); the agent is told, and is not left alone in a call."""
    one = controlled.callee(referring("return", controlled.net).answer("NOTIFY").hung_up())
    controlled.caller(caller().expect("REFER").reply(481).hung_up(), user="agent")
    assert fragments(one)[1].startswith("481 ")


@pytest.mark.parametrize(("action", "goes_on"), [("return", True), ("blind", False)])
def test_a_busy_target(controlled, records, action, goes_on):
    """Section 5: `return` takes the caller back to the agent, `end` is the default."""
    told = referring(action, controlled.net).answer("NOTIFY")
    one = controlled.callee(told.pause(100).hang_up() if goes_on else told.hung_up())
    other = controlled.caller(accepting().notify(486).expect(200).hung_up(), user="agent")
    assert fragments(one)[1] == "486 Busy Here"
    assert records()[0]["state"] == "failed"
    byes = other.received("BYE")
    assert len(byes) == 1


def test_two_record_routes(controlled):
    """Row 9: requests of ours follow both, in the order of each side."""
    here = "sip:[local_ip]:[local_port];lr;hop"
    other = caller(f"Record-Route: <{here}=a>", "Record-Route: <sip:far.example;lr>").expect("REFER").reply(202)
    other.notify(200).expect(200).hung_up()
    answering = Called("agent", "agent").invited()
    answering.accept("Record-Route: <sip:far.example;lr>", f"Record-Route: <{here}=b>").expect("ACK")
    answering.request("REFER", refer_to("blind", controlled.net)).expect(202).answer("NOTIFY")
    one = controlled.callee(answering.answer("NOTIFY").hung_up())
    far = controlled.caller(other, user="agent")
    for side, methods, hop in ((far, ("REFER", "BYE"), "a"), (one, ("ACK", "NOTIFY", "BYE"), "b")):
        for method in methods:
            route = ", ".join(side.received(method)[0].values("Route"))
            assert [part.strip() for part in route.split(",")] == [
                f"<sip:{controlled.net}.{2 if hop == 'a' else 3}:{5080 if hop == 'a' else 5070};lr;hop={hop}>",
                "<sip:far.example;lr>"]


def test_a_refer_without_a_rule(controlled):
    """Row 7."""
    one = controlled.callee(agent().request("REFER", refer_to("stranger", controlled.net)).expect(603).hang_up())
    other = controlled.caller(caller().hung_up(), user="agent")
    assert not one.received("NOTIFY")
    assert not other.received("REFER")


def test_a_refer_that_would_come_back(controlled):
    """Row 7: a target that is the edge itself."""
    looping = agent().request("REFER", f"Refer-To: <sip:blind@{controlled.net}.1:5060>").expect(482).hang_up()
    controlled.callee(looping)
    other = controlled.caller(caller().hung_up(), user="agent")
    assert not other.received("REFER")


@pytest.mark.parametrize(("target", "status"), [
    ("<sips:blind@192.0.2.1>", 416), ("<http://192.0.2.1>", 416), ("<sip:blind@>", 400), ("internal-ext-123", 400),
])
def test_a_target_that_cannot_be(controlled, target, status):
    """Section 2: a clear refusal, before a packet leaves for the caller."""
    one = controlled.callee(agent().request("REFER", f"Refer-To: {target}").expect(status).hang_up())
    other = controlled.caller(caller().hung_up(), user="agent")
    assert not one.received("NOTIFY")
    assert not other.received("REFER")


def test_an_agent_that_answers_no_notify(controlled, records):
    """Its NOTIFYs are repeated; the transfer does not wait for it."""
    deaf = agent().request("REFER", refer_to("blind", controlled.net)).expect(202).on_cue()
    # At last it answers the one that is repeated, and the one that has waited for that.
    hearing = deaf.request("BYE", repeat=False).answer("NOTIFY").answer("NOTIFY")
    one = controlled.callee(hearing, tolerant=True)
    controlled.start(accepting().notify(200).expect(200).hung_up(), user="agent")
    assert records()[0]["state"] == "completed"
    controlled.cue(one, lambda: len(one.received("NOTIFY")) > len(fragments(one)), "it has been repeated")
    controlled.finish()
    assert fragments(one) == ["100 Trying", "200 OK"]


def test_one_transfer_at_a_time(controlled, records):
    """The second REFER is refused, and the first goes on."""
    twice = referring("blind", controlled.net).request("REFER", refer_to("blind", controlled.net)).expect(491)
    one = controlled.callee(twice.answer("NOTIFY").hung_up())
    other = controlled.start(accepting().on_cue().notify(200).expect(200).hung_up(), user="agent")
    controlled.cue(other, lambda: one.received("SIP/2.0 491"), "the second one is refused")
    controlled.finish()
    assert fragments(one) == ["100 Trying", "200 OK"]
    assert len(other.received("REFER")) == 1
    assert records()[0]["state"] == "completed"


def test_a_caller_whose_server_takes_no_refer(controlled):
    """Section 5: a mode that cannot work is refused, and never changed into another one silently."""
    one = controlled.callee(agent().request("REFER", refer_to("blind", controlled.net)).expect(603).hang_up())
    other = controlled.caller(caller("Allow: INVITE, ACK, CANCEL, BYE").hung_up(), user="agent")
    assert "REFER" in one.received("SIP/2.0 603")[0].first_line
    assert not other.received("REFER")


def test_refer_without_a_subscription(controlled, records):
    """RFC 4488: the caller's server accepts and says that it will not report: nobody knows the outcome."""
    one = controlled.callee(referring("return", controlled.net).answer("NOTIFY").hang_up())
    stage = caller().expect("REFER").reply(202, "Refer-Sub: false", "Supported: norefersub")
    controlled.caller(stage.hung_up(), user="agent")
    assert not fragments(one)[1].startswith("2")
    assert records()[0]["state"] == "unknown"


def test_a_refer_that_is_passed_on(controlled):
    """The far end's words come back unchanged, and nothing is waited for; internal headers stay behind (row 10)."""
    passing = agent().request("REFER", refer_to("passed", controlled.net), "X-Internal-Secret: 4711").expect(202)
    one = controlled.callee(passing.answer("NOTIFY").answer("NOTIFY").answer("NOTIFY").hang_up())
    busy = caller().expect("REFER").reply(202).notify(180).expect(200).on_cue().notify(486, reason="So Busy")
    other = controlled.start(busy.expect(200).hung_up(), user="agent")
    controlled.cue(other, lambda: len(fragments(one)) == 2, "the agent knows that it rings")
    controlled.finish()
    assert fragments(one) == ["100 Trying", "180 Ringing", "486 So Busy"]
    refer, = other.received("REFER")
    assert refer.values("X-Customer-Intent") == ["billing question"]
    assert "X-Customer-Intent=billing%20question" in refer.values("Refer-To")[0]
    assert "X-Internal" not in refer.text


@pytest.mark.parametrize(("status", "reason"), [(603, "Not By Me"), (420, "Bad Extension")])
def test_a_passed_refer_that_is_refused(controlled, status, reason):
    """Row 18."""
    one = controlled.callee(agent().request("REFER", refer_to("passed", controlled.net)).expect(status).hang_up())
    controlled.caller(caller().expect("REFER").reply(status, reason=reason).hung_up(), user="agent")
    assert one.received("SIP/2.0 ")[-2].first_line == f"SIP/2.0 {status} {reason}"
    assert not one.received("NOTIFY")


def test_replaces_of_an_unknown_dialog_passes_unchanged(controlled):
    """Row 20, and row 11: what was escaped once leaves escaped once."""
    query = "?Replaces=a%40b%3Bto-tag%3Dx%2By%3Bfrom-tag%3Dz"
    passing = agent().request("REFER", refer_to("passed", controlled.net, query=query)).expect(202)
    controlled.callee(passing.answer("NOTIFY").answer("NOTIFY").hang_up())
    other = controlled.caller(caller().expect("REFER").reply(202).notify(200).expect(200).hung_up(), user="agent")
    assert query in other.received("REFER")[0].values("Refer-To")[0]
