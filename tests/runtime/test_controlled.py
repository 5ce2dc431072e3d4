"""Controlled calls through the edge as a set of processes: set up, transferred, hung up on at a stop."""
from .edge import NETWORK, WAIT, RunningEdge

BLIND = """
[[transfer]]
name = "blind"
mode = "blind"
on_failure = "return"
[[refer]]
action = "run"
transfer = "blind"
"""


class ControllingEdge(RunningEdge):
    """Its route controls."""

    def __init__(self, folder, more: str = "", **options):
        super().__init__(folder, more=more, **options)
        self.text = self.text.replace('to = "pbx"\n', 'to = "pbx"\ncontrol = true\n')
        self.file.write_text(self.text)


def test_a_controlled_call_leaves_its_line(tmp_path):
    with ControllingEdge(tmp_path) as edge:
        one, other = edge.call()
        assert one.call_id != other.call_id
        assert edge.until("controlled_calls", 1)["calls_up"] == 1
        edge.hang_up(one)
        assert edge.stop() == 0
    (line,) = edge.call_lines()
    assert (line["ended"], line["status"], line["call_id"]) == ("caller", 200, one.call_id)


def test_a_stop_hangs_up_on_both(tmp_path):
    with ControllingEdge(tmp_path, stop_timeout=30) as edge:
        edge.call()
        edge.process.terminate()
        for phone in (edge.caller, edge.pbx):
            phone.answer(phone.wait("BYE"), 200)
        edge.process.wait(WAIT)
    (line,) = edge.call_lines()
    assert line["ended"] == "stop"


def test_a_refer_that_the_edge_runs(tmp_path):
    with ControllingEdge(tmp_path, BLIND) as edge:
        one, other = edge.call()
        other.send("REFER", headers=[("Refer-To", f"<sip:2002@{NETWORK}.9>")])
        edge.pbx.wait("202")
        trying = edge.pbx.wait("NOTIFY")
        edge.pbx.answer(trying, 200)
        refer = edge.caller.wait("REFER")
        assert refer.header("Refer-To") == f"<sip:2002@{NETWORK}.9>"
        edge.caller.answer(refer, 202)
        one.send("NOTIFY", body=b"SIP/2.0 486 Busy Here\r\n", headers=[
            ("Event", "refer"), ("Subscription-State", "terminated;reason=noresource"),
            ("Content-Type", "message/sipfrag;version=2.0")])
        edge.caller.wait("200")
        busy = edge.pbx.wait("NOTIFY")
        assert busy.message.body == b"SIP/2.0 486 Busy Here\r\n"
        edge.pbx.answer(busy, 200)
        assert edge.until("transfers_failed", 1)["controlled_calls"] == 1
        edge.hang_up(one)
