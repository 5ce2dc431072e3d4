"""SIPp scenarios, real processes, through a real edge: one folder of scenario files for each behaviour."""
import pytest

from tests.scenarios.conftest import Stage, configuration


@pytest.mark.parametrize("behaviour", ["basic", "rejected", "cancelled", "cancel-crossing", "reinvite", "update",
                                       "prack"])
def test_both_sides_go_through_as_written(stage, behaviour):
    callee = stage.callee(f"{behaviour}/callee")
    stage.caller(f"{behaviour}/caller")
    assert len(callee.received("INVITE")) == (2 if behaviour == "reinvite" else 1)


def test_in_dialog_requests_follow_our_record_route(stage):
    callee = stage.callee("basic/callee")
    caller = stage.caller("basic/caller")
    invite, bye = callee.received("INVITE")[0], callee.received("BYE")[0]
    call_id = caller.seen()[0].values("Call-ID")[0]
    assert invite.values("X-Edge-Call") == [call_id]
    route = invite.values("Record-Route")
    assert len(route) == 1
    assert route[0].startswith(f"<sip:{stage.net}.1") or f"@{stage.net}.1" in route[0]
    assert ";lr" in route[0]
    assert bye.values("Route") == []
    assert [len(message.values("Via")) for message in (invite, bye)] == [2, 2]
    line = stage.edge.wait_call_line(event="call", call_id=call_id)
    assert (line["status"], line["ended"], line["group"], line["upstream"]) == (200, "caller", "callers", "phone")


def test_a_refused_call_is_told_as_it_was(stage):
    stage.callee("rejected/callee")
    caller = stage.caller("rejected/caller")
    assert caller.received("SIP/2.0 486")[0].first_line == "SIP/2.0 486 Busy Here"


def test_cancel_goes_hop_by_hop(stage, counted):
    callee = stage.callee("cancelled/callee")
    stage.caller("cancelled/caller")
    invite, cancel = callee.received("INVITE")[0], callee.received("CANCEL")[0]
    assert cancel.values("Via") == invite.values("Via")[:1]
    assert counted("cancelled") == 1


def test_an_overloaded_target_is_followed_by_the_next(stage, counted):
    first, second = stage.callee("failover/first", host=4), stage.callee("basic/callee")
    caller = stage.caller("basic/caller", user="pair")
    branches = [side.received("INVITE")[0].values("Via")[0] for side in (first, second)]
    assert branches[0] != branches[1]
    assert counted("failovers") == 1
    assert not caller.received("SIP/2.0 503")


def test_a_repeated_invite_is_absorbed(stage, counted):
    callee = stage.callee("retransmitted/callee")
    stage.caller("retransmitted/caller", tolerant=True)
    assert len(callee.received("INVITE")) == 1
    assert counted("retransmissions_in") == 2


def test_a_lost_ack_brings_the_200_again(stage):
    callee = stage.callee("lost-ack/callee")
    caller = stage.caller("lost-ack/caller")
    answers = [message for message in caller.received("SIP/2.0 200") if message.values("CSeq") == ["1 INVITE"]]
    assert [message.values("X-Again") for message in answers] == [[], ["1"]]
    assert len(callee.received("ACK")) == 1


def test_blind_transfer_by_refer(stage, counted):
    callee = stage.callee("refer/callee")
    caller = stage.caller("refer/caller")
    refer = caller.received("REFER")[0]
    call_id = refer.values("Call-ID")[0]
    assert refer.values("X-Customer-Intent") == ["billing question"]
    assert refer.values("X-Agent-Call") == [call_id]
    target = refer.values("Refer-To")
    assert len(target) == 1
    assert target[0].startswith("<sip:2001@target.example?")
    assert "X-Customer-Intent=billing%20question" in target[0]
    assert "X-Internal-Account" not in refer.text
    assert [message.text.split()[-2:] for message in callee.received("NOTIFY")] == [["100", "Trying"], ["200", "OK"]]
    assert stage.edge.wait_call_line(event="transfer", call_id=call_id)["outcome"] == "completed"
    assert (counted("refers"), counted("refers_accepted"), counted("refers_completed")) == (1, 1, 1)


def test_a_transfer_without_a_rule_is_refused(stage, counted):
    stage.callee("refer-refused/callee")
    caller = stage.caller("refer-refused/caller")
    assert not caller.received("REFER")
    assert (counted("refers"), counted("refers_refused")) == (1, 1)


def test_methods_are_open_by_group(stage, counted):
    stage.caller("options/caller")
    register = stage.caller("register/caller")
    closed = stage.caller("message-closed/caller")
    assert register.received("SIP/2.0 405")[0].values("Allow") == ["INVITE, OPTIONS"]
    assert closed.received("SIP/2.0 405")[0].values("Allow") == ["INVITE, OPTIONS"]
    assert counted("method_closed") == 2
    callee = stage.callee("message/callee")
    stage.caller("message/caller", host=5)
    assert callee.received("MESSAGE")[0].text.split()[-2:] == ["hello", "world"]


def test_compact_headers(stage):
    callee = stage.callee("compact/callee")
    stage.caller("compact/caller")
    invite = callee.received("INVITE")[0]
    assert len(invite.values("i")) == 1
    assert invite.values("X-Edge-Call") == invite.values("i")
    assert invite.values("k") == ["timer"]


def test_no_route(stage):
    stage.caller("not-found/caller", user="nobody")


def test_the_access_list(stage, counted):
    forbidden = stage.caller("forbidden/caller", host=6)
    assert len(forbidden.received("SIP/2.0")) == 1
    for host in (7, 8):
        assert not stage.caller("silence/caller", host=host).received("SIP/2.0")
    assert counted("denied") == 2
    assert counted("unlisted_dropped") == 2
    # 403 takes an ACK, which is refused with nothing.
    assert counted("forbidden") == 2
    assert counted("forwarded") == 0


def test_too_big_is_refused(stage, counted):
    caller = stage.caller("too-big/caller", user="strict")
    assert caller.received("SIP/2.0 513")
    assert (counted("oversize"), counted("oversize_refused"), counted("forwarded")) == (1, 1, 0)


@pytest.mark.parametrize("step", ["compact", "drop"])
def test_too_big_is_made_smaller_on_the_wire(stage, step, counted):
    """The same INVITE once to an upstream without the step, where it is over the budget, once with it."""
    callee = stage.callee("basic/callee")
    stage.caller("big/caller", user="plain")
    assert callee.received("INVITE")[0].size > 1170, "nothing would have to be smaller"
    callee = stage.callee("compacted/callee" if step == "compact" else "basic/callee")
    stage.caller("big/caller", user=step)
    smaller = callee.received("INVITE")[0]
    assert smaller.size <= 1300
    assert counted("oversize") >= 1
    assert counted("oversize_refused") == 0
    assert smaller.values("X-Kept") == ["kept"]
    if step == "compact":
        assert smaller.values("X-Long-1") == smaller.values("X-Long-2") == ["x" * 60]
        assert smaller.values("v")
        assert len(smaller.values("f")) == 1
    else:
        assert smaller.values("X-Long-1") == []
        assert len(smaller.values("From")) == 1


def test_nobody_answers(network, start_edge, tmp_path):
    """Timer B is 64 times T1: 408 from the edge, whose INVITE went out again and again."""
    edge = start_edge(configuration(network, timers="[timers]\nt1 = 0.05\nt2 = 0.1\ntry_timeout = 30\n"))
    stage = Stage(network, edge, tmp_path)
    silent = stage.callee("silent/callee")
    try:
        caller = Stage(network, edge, tmp_path).caller("no-answer/caller")
        assert len(caller.received("SIP/2.0 408")) >= 1
        assert len(silent.received("INVITE")) >= 1
        assert edge.stats()["retransmissions_out"] >= 5
        assert edge.wait_call_line(event="call")["status"] == 408
    finally:
        stage.close()


def test_a_hundred_calls_a_second(network, start_edge, tmp_path):
    """T1 is 4 s on every side: what is repeated then was lost, and not only late on a busy machine."""
    edge = start_edge(configuration(network))
    stage = Stage(network, edge, tmp_path)
    callee = stage.callee("load/callee", calls=500)
    stage.caller("load/caller", calls=500, rate=100)
    assert len(callee.received("INVITE")) == 500
    assert len(callee.received("BYE")) == 500
    found = edge.stats()
    assert (found["retransmissions_in"], found["retransmissions_out"]) == (0, 0)
    assert (found["calls"], found["calls_answered"], found["calls_ended"]) == (500, 500, 500)
