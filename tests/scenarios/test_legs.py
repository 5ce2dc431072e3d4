"""Controlled calls with peers that are difficult before any transfer: forks, glare, reliable responses, races."""
import pytest

from tests.scenarios.controlled import agent, caller
from tests.scenarios.script import Called, Calling, description


def calling(*headers: str) -> Calling:
    return Calling("caller", "caller").invite(*headers)


def test_two_calls_of_the_edges_own(controlled):
    """Each side has a dialog with the edge: nothing of the other side's can be seen in it."""
    one = controlled.callee(agent().hung_up())
    other = controlled.caller(caller("X-Internal-Account: 4711", "X-Account: 4712").hang_up(), user="agent")
    sent, came = other.seen()[0], one.received("INVITE")[0]
    assert sent.values("Call-ID") != came.values("Call-ID")
    assert sent.values("From")[0].partition(";tag=")[2] != came.values("From")[0].partition(";tag=")[2]
    assert len(came.values("Via")) == 1
    assert not came.values("Record-Route")
    assert came.values("X-Account") == ["4712"]
    assert not came.values("X-Internal-Account")
    assert f"sip:{controlled.net}.1:5060" in came.values("Contact")[0]
    assert came.values("Max-Forwards") == ["69"]


def test_an_invite_with_odd_headers_is_answered(controlled):
    """Row 13: nothing unknown makes a call vanish."""
    controlled.callee(agent().hung_up())
    controlled.caller(caller("Nonsense: ;;;", "X-!%*_+`'~.: odd", "P-Odd-Empty:", "Supported: nonsense, 100rel",
                        "Accept: text/odd;q=0.1", "History-Info: <sip:a@b?x=y>;index=1", "Alert-Info: <http://x/y>",
                        "Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000",
                        "Date: never").hang_up(), user="agent")


def test_what_nobody_knows_is_refused_and_not_ignored(controlled):
    """Row 13: 420 names what is not supported (RFC 3261 8.2.2.3)."""
    odd = calling("Require: nonsense").expect(100, optional=True).expect(420).ack(failed=True)
    other = controlled.caller(odd, user="agent")
    assert other.received("SIP/2.0 420")[0].values("Unsupported") == ["nonsense"]


@pytest.mark.parametrize("status", [404, 486, 488, 503, 603])
def test_a_refusal_arrives_as_it_was(controlled, status):
    """Row 18, with Retry-After."""
    controlled.callee(Called("agent", "agent").invited().refuse(status, "Retry-After: 17", reason="Of My Own"))
    refused = calling().expect(100, optional=True).expect(status).ack(failed=True)
    answer = controlled.caller(refused, user="agent").received(f"SIP/2.0 {status}")[0]
    assert answer.first_line == f"SIP/2.0 {status} Of My Own"
    assert answer.values("Retry-After") == ["17"]


def test_early_media_from_two_forks(controlled):
    """Two 183 and two 200 of one INVITE: the first 200 is the call, the other one gets ACK and BYE (13.2.2.4)."""
    forks = Called("agent", "agent").invited()
    for fork, port in (("x", "40002"), ("y", "40004")):
        forks.ring(183, body=description(port=port), fork=fork)
    forks.accept(body=description(port="40004"), fork="y").expect("ACK")
    forks.accept(body=description(port="40002"), fork="x").expect("ACK").hung_up().hung_up()
    one = controlled.callee(forks)
    answered = calling().ringing().expect(183, optional=True).expect(200, route=True).ack()
    other = controlled.start(answered.on_cue().hang_up(), user="agent")
    controlled.cue(other, lambda: one.received("BYE"), "the other one is ended")
    controlled.finish()
    assert len(other.received("SIP/2.0 200")) == 2
    assert "m=audio 40004 " in other.received("SIP/2.0 200")[0].text
    assert [bye.values("To")[0][-1] for bye in one.received("BYE")] == ["x", "y"]
    assert [ack.values("To")[0][-1] for ack in one.received("ACK")] == ["y", "x"]


@pytest.mark.parametrize("supported", [True, False])
def test_reliable_responses_on_each_side_alone(controlled, supported):
    """100rel: the edge acknowledges the agent's 183, and has its own acknowledged where the caller can (RFC 3262)."""
    answering = Called("agent", "agent").invited()
    answering.ring(183, "Require: 100rel", "RSeq: 7001", body=description()).answer("PRACK").accept().expect("ACK")
    one = controlled.callee(answering.hung_up())
    first = calling("Supported: 100rel") if supported else calling()
    first.expect(100, optional=True)
    if supported:
        first.expect(183, save=("rseq", "RSeq:"), route=True)
        first.request("PRACK", "RAck: [$rseq] 1 INVITE").expect(200)
    first.expect(183, optional=True).expect(200, route=True)
    other = controlled.caller(first.ack().hang_up(), user="agent")
    assert one.received("PRACK")[0].values("RAck") == ["7001 1 INVITE"]
    assert bool(other.received("SIP/2.0 183")[0].values("RSeq")) is supported


def test_cancel(controlled):
    one = controlled.callee(Called("agent", "agent").invited().ring().answer("CANCEL").refuse(487))
    giving_up = calling().expect(100, optional=True).expect(180).cancel().expect(200).expect(487)
    controlled.caller(giving_up.ack(failed=True), user="agent")
    assert one.received("CANCEL")[0].values("Call-ID") == one.received("INVITE")[0].values("Call-ID")


def test_cancel_against_200(controlled):
    """Row 16: the agent answers before it reads CANCEL; that call gets ACK and BYE, the caller 487."""
    crossing = Called("agent", "agent").invited().ring().answer("CANCEL").accept().expect("ACK").hung_up()
    controlled.callee(crossing)
    giving_up = calling().expect(100, optional=True).expect(180).cancel().expect(200).expect(487)
    controlled.caller(giving_up.ack(failed=True), user="agent")


def test_a_reinvite_crosses_with_its_description(controlled):
    one = controlled.callee(agent().expect("INVITE", keep="again").reply(200, body=description(2, "40008"), to="again",
                                                                    once=False).expect("ACK").hung_up())
    again = caller().request("INVITE", body=description(2, "40006", direction="sendonly"))
    other = controlled.caller(again.expect(100, optional=True).expect(200, route=True).ack().hang_up(), user="agent")
    assert "m=audio 40006 " in one.received("INVITE")[1].text
    assert "a=sendonly" in one.received("INVITE")[1].text
    answer = next(answer for answer in other.received("SIP/2.0 200") if answer.values("CSeq") == ["2 INVITE"])
    assert "m=audio 40008 " in answer.text


def test_glare_with_a_far_end_that_says_491(controlled):
    """The edge repeats its re-INVITE after a while of its own (14.1); the agent that began it knows nothing of it."""
    offering = agent().request("INVITE", body=description(2)).expect(100, optional=True).expect(200, route=True).ack()
    controlled.callee(offering.hang_up())
    busy = caller().expect("INVITE").reply(491).expect("ACK")
    busy.expect("INVITE", keep="again").reply(200, body=description(2), to="again", once=False).expect("ACK")
    other = controlled.caller(busy.hung_up(), user="agent")
    first, again = (message.values("CSeq")[0] for message in other.received("INVITE"))
    assert int(again.split()[0]) > int(first.split()[0])


def test_glare_of_both_sides(controlled):
    """Both offer at once: whose offer reaches the other side second gets 491 (14.2)."""
    both = agent().expect("INVITE", keep="theirs").request("INVITE", body=description(2), repeat=False)
    both.expect(100, optional=True).expect(491).ack(failed=True)
    both.reply(200, body=description(2), to="theirs", once=False).expect("ACK")
    controlled.callee(both.hung_up())
    first = caller().request("INVITE", body=description(2)).expect(100, optional=True)
    controlled.caller(first.expect(200, route=True).ack().hang_up(), user="agent")


def test_both_sides_hang_up_at_once(controlled):
    """Each BYE is answered, and nobody is left."""
    controlled.callee(agent().expect("BYE", keep="theirs").request("BYE").expect(200).reply(200, to="theirs"))
    controlled.caller(caller().hang_up(), user="agent")
    controlled.edge.wait_stats(lambda stats: not stats["calls_up"], "the call is over")
