"""What cannot work is refused before a packet leaves, by the same check as for the file and the API."""
import pytest

from proxy.config import Action, ActionHeader

from .scene import CONFIG, ROUTE, Scene

TARGET = "sip:2001@127.0.0.4"


@pytest.mark.parametrize(("more", "field"), [
    ({"headers": (ActionHeader(name="Via", value="x"),)}, "headers[0].name"),
    ({"headers": (ActionHeader(name="X-A", value="{results}"),)}, "headers[0].value"),
    ({"before": ("crm",)}, "before[0]"), ({"upstream": "pbx", "targets": (TARGET, TARGET)}, "targets"),
])
def test_an_action_that_is_wrong_is_refused_with_its_field(more, field):
    edge = Scene(ROUTE)
    edge.up()
    reply = edge.start(Action(**{"name": "a", "mode": "blind", "targets": (TARGET,), **more}))
    assert (reply.status, reply.error.partition(":")[0]) == (422, field)
    assert edge.caller.names() == []


def test_blind_to_an_upstream_that_takes_no_refer():
    callers = '[[upstream]]\nname = "callers"\ntargets = [{address = "127.0.0.2:5060"}]\nrefer = false\n'
    edge = Scene(callers + ROUTE, base=CONFIG)
    edge.up()
    reply = edge.start(Action(name="a", mode="blind", targets=(TARGET,)))
    assert (reply.status, reply.error.partition(":")[0]) == (409, "mode blind")
    assert edge.caller.names() == []
