"""A running edge that finds its peers by DNS: real name servers, real phones."""
import select
import time

from tests.edge import wait_until
from tests.net.nameservers import Unbound, liar

from .edge import NETWORK, RunningEdge, SocketPhone

DNS = '[dns]\nservers = ["{server}"]\ndeadline = {deadline}\n'
BY_NAME = """\
[[upstream]]
name = "dns"
targets = [{ address = "pbx.test" }]
[[route]]
users = ["dns*"]
to = "dns"
[[route]]
users = ["uri*"]
to = "request-uri"
"""


def edge_with(tmp_path, server, deadline=20.0):
    """An edge whose routes by name come before the one to an address."""
    edge = RunningEdge(tmp_path)
    head, route, rest = edge.text.partition("[[route]]")
    edge.file.write_text(head + BY_NAME + route + rest + DNS.format(server=server, deadline=deadline))
    return edge


def said(edge, event):
    """A line of the log, which may have come before the edge was ready."""
    return next((line for line in edge.log if line["event"] == event), None) or edge.event(event)


def invite(edge, uri, call_id):
    edge.caller.request("INVITE", uri, call_id=call_id)
    arrived = edge.pbx.wait("INVITE")
    edge.pbx.answer(arrived, 200)
    dialog = edge.caller.caller_dialog(edge.caller.wait("200"))
    dialog.send("ACK")
    edge.pbx.wait("ACK")
    edge.hang_up(dialog)
    return arrived


def test_calls_go_where_srv_says_and_go_on_when_the_server_is_gone(tmp_path):
    spare = SocketPhone("spare", f"{NETWORK}.9", ("", 0))
    closed = spare.number
    spare.socket.close()
    edge = edge_with(tmp_path, "127.0.0.1:53")
    port = edge.pbx.number
    with Unbound(
            f"_sip._udp.pbx.test. 2 IN SRV 10 0 {closed} closed.pbx.test.", f"closed.pbx.test. 60 IN A {NETWORK}.9",
            f"_sip._udp.pbx.test. 2 IN SRV 20 0 {port} pbx.test.", f"pbx.test. 60 IN A {NETWORK}.3",
            f"bob.test. 60 IN A {NETWORK}.3", f"edge.test. 60 IN A {edge.address[0]}") as server:
        edge.file.write_text(edge.file.read_text().replace("127.0.0.1:53", server.address))
        with edge:
            line = said(edge, "name resolved")
            assert line["addresses"] == [f"udp:{NETWORK}.9:{closed}", f"udp:{NETWORK}.3:{port}"]
            # The first address refuses, the second one takes the call; what the caller asked for stays.
            arrived = invite(edge, "sip:dns1@example.net", "one")
            assert arrived.message.uri == "sip:dns1@pbx.test"
            arrived = invite(edge, f"sip:uri1@bob.test:{port}", "two")
            assert arrived.message.uri == f"sip:uri1@bob.test:{port}"
            for uri, status, reason in (
                    (f"sip:uri2@edge.test:{edge.address[1]}", "482",
                     f"Loop Detected - edge.test:{edge.address[1]} leads back to the edge"),
                    ("sip:uri3@nowhere.test", "480", "Temporarily Unavailable - nowhere.test has no address")):
                sent = edge.caller.request("INVITE", uri, call_id=uri)
                refused = edge.caller.wait(status)
                edge.caller.ack(sent, refused)
                assert refused.message.reason == reason
            server.stop()
            invite(edge, "sip:dns2@example.net", "five")
            invite(edge, f"sip:uri4@bob.test:{port}", "six")
            assert edge.statistics()["failovers"] == 2
            # A gauge, which the worker writes once a second.
            wait_until(lambda: edge.statistics()["dns_names"] >= 3, "names are known")


def test_a_silent_server_costs_the_deadline_of_calls_to_names_alone(tmp_path):
    with liar(lambda query: []) as server, edge_with(tmp_path, server, deadline=2.0) as edge:
        bob = SocketPhone("bob", f"{NETWORK}.2", edge.address)

        def overtaken() -> bool:
            """Whether another call is up and over before the one to the name is refused. It is, unless the machine
            stands still until the deadline."""
            start = time.monotonic()
            invite = bob.request("INVITE", "sip:dns1@example.net", call_id=f"named-{start}")
            bob.wait("100")
            edge.hang_up(edge.call()[0])
            waits = not select.select([bob.socket], [], [], 0)[0]
            assert waits or time.monotonic() - start > 1.9
            refused = bob.wait("503")
            bob.ack(invite, refused)
            assert refused.message.reason == "Service Unavailable - pbx.test does not resolve: no answer in time"
            assert time.monotonic() - start > 1.9
            return waits

        with bob.socket:
            wait_until(overtaken, "a call overtakes the one to the name")
        assert said(edge, "name does not resolve")["name"] == "pbx.test"
        assert "warning: upstream target pbx.test does not resolve: no answer in time\n" in edge.command("check")


def test_a_name_that_is_new_after_a_reload_takes_its_first_call(tmp_path):
    edge = edge_with(tmp_path, "127.0.0.1:53")
    with Unbound(f"pbx.test. 60 IN A {NETWORK}.3", f"new.test. 60 IN A {NETWORK}.3") as server:
        text = edge.file.read_text().replace("127.0.0.1:53", server.address)
        edge.file.write_text(text)
        with edge:
            said(edge, "name resolved")
            edge.file.write_text(text.replace('"pbx.test"', f'"new.test:{edge.pbx.number}"'))
            edge.signal(1)
            edge.event("worker ready", epoch=1)
            assert invite(edge, "sip:dns1@example.net", "one").message.uri == f"sip:dns1@new.test:{edge.pbx.number}"
