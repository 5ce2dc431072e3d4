"""What strangers choose, from the wire to requests, records and events: nothing of it breaks a message, a record, or a
transfer."""
import pytest

from proxy.policy.context import call_variables

from .referring import blind
from .scene import ROUTE, Scene, notify
from .stage import Stage

ODD = ["\udcff\udcfe", "a\u2028b", "\u202eabc", "\u0085x", "x" * 3000]
CONTROLS = ["\0", "\x1b[31m", "\x7f", "\x08"]


def of_record(record):
    """All texts of a transfer's record that a far end had a word in."""
    return [record.verdict, record.reason, record.target, *record.targets, *(step.detail for step in record.steps)]


@pytest.mark.parametrize("odd", ODD)
def test_a_targets_reason_phrase_is_kept_readable(odd):
    with Stage() as stage:
        one, _, invite = stage.begin()
        stage.target.answer(invite, 486, reason=f"Busy{odd}")
        stage.run()
        record = stage.services.transfer()
        assert (record.state, record.status) == ("failed", 486)
        assert all(text.isprintable() and len(text) <= 600 for text in of_record(record))
        stage.hang_up(one, stage.agent)


@pytest.mark.parametrize(("odd", "sent"), [
    ("\udcff\udcfe", "v??"), ("a\u2028b", None), ("\u0085x", None), ("\u202eabc", "v\u202eabc")])
def test_a_callers_x_header_is_a_variable_that_records_can_hold(odd, sent):
    with Stage() as stage:
        one, _ = stage.up(headers=[("X-Odd", f"v{odd}")])
        reply = stage.start(stage.warm(headers=({"name": "X-Copy", "value": "{X-Odd}"},)))
        assert reply.status == 202
        invite = stage.target.take("INVITE")
        # A line separator may be none in a header either.
        assert invite.header("X-Copy") == sent
        stage.target.answer(invite, 486)
        stage.run()
        assert stage.services.transfer().state == "failed"
        stage.hang_up(one, stage.agent)
        assert stage.services.call().variables["X-Odd"].startswith("v")


def test_variables_from_the_wire_are_text():
    found = call_variables("c\udcff", "sip:a@b", "sip:c@d", [("X-A", "\udcff")])
    assert (found["X-A"], found["call_id"]) == ("?", "c?")


@pytest.mark.parametrize("odd", CONTROLS)
def test_a_sipfrags_reason_goes_on_without_control_characters(odd):
    scene = Scene(ROUTE)
    one, _ = scene.up()
    assert scene.start(blind()).status == 202
    refer = scene.caller.take("REFER")
    scene.caller.answer(refer, 202)
    notify(one, 486, f"Busy{odd}here")
    scene.run()
    record = scene.services.transfer()
    assert record.reason.startswith("Busy?")
    assert all(text.isprintable() for text in of_record(record))
    scene.over()
