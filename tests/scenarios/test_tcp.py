"""SIPp over TCP through a real edge: calls, both transports in one call, and what goes by TCP for its size alone."""
from collections.abc import Iterator

import pytest

from tests.edge import NETWORKS, SLOW_TIMERS, UDP_AND_TCP, EdgeProcess
from tests.scenarios.conftest import LONG, Stage
from tests.scenarios.sipp import MEDIA_PORT

CONFIGURATION = UDP_AND_TCP + LONG + SLOW_TIMERS + """
[[group]]
name = "callers"
addresses = ["{net}.2"]
rate = 1000

[[group]]
name = "phones"
addresses = ["{net}.3"]

[[upstream]]
name = "udp"
targets = [{{ address = "{net}.3:5070" }}]

[[upstream]]
name = "tcp"
targets = [{{ address = "{net}.3:5070", transport = "tcp" }}]

[[upstream]]
name = "size"
targets = [{{ address = "{net}.3:5070" }}]
size_policy = ["tcp", "drop", "refuse"]

[[route]]
users = ["udp"]
to = "udp"

[[route]]
users = ["tcp"]
to = "tcp"

[[route]]
users = ["size"]
to = "size"
headers = ["long"]
"""


@pytest.fixture(scope="module")
def shared_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, EdgeProcess]]:
    net = NETWORKS.take()
    with EdgeProcess(tmp_path_factory.mktemp("edge"), CONFIGURATION.format(net=net, filling="x" * 60)) as edge:
        yield net, edge


@pytest.fixture(params=[("u1", "t1"), ("t1", "u1"), ("t1", "t1"), ("tn", "t1")], ids="-".join)
def ways(request: pytest.FixtureRequest) -> tuple[str, str]:
    """How caller and callee speak, as SIPp says it."""
    return request.param  # type: ignore[no-any-return]


def _user(way: str) -> str:
    return "tcp" if way[0] == "t" else "udp"


def _transports(values: list[str]) -> list[str]:
    """Of Record-Route values, the transport of each; empty where it names none."""
    return [value.partition(";transport=")[2].partition(";")[0].rstrip(">") for value in values]


@pytest.mark.parametrize("behaviour", ["basic", "hung-up", "reinvite", "cancelled", "rejected"])
def test_both_sides_go_through_as_written(stage: Stage, ways: tuple[str, str], behaviour: str, counted) -> None:
    """The callee's 2xx, re-INVITE and BYE find their way whatever each side speaks, and nothing has to be repeated."""
    to_caller, to_callee = ways
    callee = stage.callee(f"{behaviour}/callee", transport=to_callee)
    caller = stage.caller(f"{behaviour}/caller", user=_user(to_callee), transport=to_caller)
    invite = callee.received("INVITE")[0]
    if to_caller[0] == to_callee[0]:
        assert _transports(invite.values("Record-Route")) == ["tcp"]
    else:
        # RFC 5658: one for each transport; the callee's own is the first.
        assert _transports(invite.values("Record-Route")) == (["tcp", ""] if to_callee == "t1" else ["", "tcp"])
    vias = [message.values("Via")[0].split()[0].rpartition("/")[2]
            for side, name in ((callee, "INVITE"), (callee, "BYE"), (caller, "BYE"))
            for message in side.received(name)]
    expected = {"INVITE": "TCP" if to_callee[0] == "t" else "UDP", "BYE": "TCP" if to_caller[0] == "t" else "UDP"}
    assert vias[0] == expected["INVITE"]
    if behaviour == "hung-up":
        assert vias[1:] == [expected["BYE"]]
        assert stage.edge.wait_call_line(event="call", call_id=invite.values("Call-ID")[0])["ended"] == "callee"
    assert (counted("retransmissions_out"), counted("transport_errors")) == (0, 0)


def test_a_hundred_calls_by_a_connection_each(network, start_edge, tmp_path) -> None:
    edge = start_edge(CONFIGURATION.format(net=network, filling=""))
    stage = Stage(network, edge, tmp_path)
    callee = stage.callee("load/callee", calls=100, transport="t1")
    stage.caller("load/caller", user="tcp", calls=100, rate=50, transport="tn")
    assert len(callee.received("BYE")) == 100
    found = edge.wait_stats(lambda stats: stats["connections_accepted"] >= 100, "a connection for each call")
    # The callee is reached by one.
    assert (found["connections_accepted"], found["connections_opened"]) == (100, 1)
    assert (found["calls"], found["calls_answered"], found["calls_ended"]) == (100, 100, 100)


def test_a_big_call_goes_by_tcp_and_the_next_one_by_udp(stage: Stage, counted) -> None:
    """Two SIPps stand at the same address and port; the big INVITE reaches one of them, the small one the other."""
    by_tcp, by_udp = (
        stage.callee("basic/callee", transport="t1"), stage.callee("basic/callee", media_port=MEDIA_PORT + 10))
    caller = stage.start("big/caller", user="size")
    small = stage.start("basic/caller", user="size", port=5081, media_port=MEDIA_PORT + 10)
    stage.finish()
    big_invite, = by_tcp.received("INVITE")
    small_invite, = by_udp.received("INVITE")
    assert big_invite.size > 1300
    assert big_invite.values("Via")[0].startswith(f"SIP/2.0/TCP {stage.net}.1:5060;")
    assert big_invite.values("X-Long-1") == ["x" * 60]
    assert small_invite.values("Via")[0].startswith(f"SIP/2.0/UDP {stage.net}.1:5060;")
    assert [side.seen()[0].values("Call-ID") for side in (caller, small)] == [
        message.values("Call-ID") for message in (big_invite, small_invite)]
    # Its dialog is as if it had gone by UDP, but for the Contact that says TCP.
    assert _transports(big_invite.values("Record-Route")) == [""]
    assert (counted("oversize"), counted("oversize_refused"), counted("retransmissions_out")) == (1, 0, 0)


def test_where_no_connection_comes_about_the_next_step_is_taken(stage: Stage, counted) -> None:
    callee = stage.callee("basic/callee")
    stage.caller("big/caller", user="size")
    invite, = callee.received("INVITE")
    assert invite.values("Via")[0].startswith("SIP/2.0/UDP ")
    assert invite.size <= 1300
    assert (invite.values("X-Kept"), invite.values("X-Long-1")) == (["kept"], [])
    assert (counted("oversize"), counted("oversize_refused")) == (1, 0)
    reason = stage.edge.wait_log_line(event="target failed")["reason"]
    assert reason == "Connection refused"
