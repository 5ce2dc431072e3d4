"""Calls with audio, SIPp on both sides: what the caller plays comes back from the callee, all of it by way of the edge.
"""
import os
import struct
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

from tests.scenarios.conftest import Stage, configuration
from tests.scenarios.sipp import MEDIA_PORT

CALLS = 5
PACKETS = 25
FIRST, LAST = 20000, 20099


def anchored(net: str) -> str:
    route = 'users = ["2000"]\nto = "phone"\nheaders = ["call"]\n'
    text = configuration(net, f"""
[[media]]
name = "audio"
bind = "{net}.1"
ports = "{FIRST}-{LAST}"
""")
    assert route in text
    return text.replace(route, f'{route}media = "anchor"\n', 1)


def write_audio(path: Path) -> None:
    """Half a second of PCMU, 20 ms a packet."""
    packets = []
    for number in range(PACKETS):
        header = struct.pack("!BBHII", 0x80, 0x80 if number == 0 else 0, 100 + number, 160 * number, 0x5EED)
        packets.append(Ether() / IP() / UDP(sport=MEDIA_PORT, dport=MEDIA_PORT) / Raw(header + bytes([number]) * 160))
        packets[-1].time = number * 0.02
    wrpcap(str(path), packets)


@pytest.mark.skipif(os.geteuid() != 0, reason="SIPp plays audio over raw sockets, which need root")
def test_what_is_played_comes_back(network, start_edge, tmp_path):
    edge = start_edge(anchored(network))
    stage = Stage(network, edge, tmp_path)
    write_audio(tmp_path / "audio.pcap")
    try:
        callee = stage.callee("audio/callee", calls=CALLS, echo=True)
        caller = stage.caller("audio/caller", calls=CALLS, rate=20)
    finally:
        stage.close()
    ports = set()
    for sipp, start in ((callee, "INVITE "), (caller, "SIP/2.0 200")):
        told = [message for message in sipp.received(start) if "\nm=audio " in message.text]
        assert len(told) == CALLS
        for message in told:
            assert f"c=IN IP4 {network}.1\r\n" in message.text
            assert f"{network}.2 " not in message.text.partition("\r\n\r\n")[2]
            ports.add(int(message.text.partition("\nm=audio ")[2].split()[0]))
    assert len(ports) == 2 * CALLS
    assert all(FIRST <= port < LAST and port % 2 == 0 for port in ports)
    call_ids = {message.values("Call-ID")[0] for message in caller.received("SIP/2.0 200")}
    assert len(call_ids) == CALLS
    for call_id in call_ids:
        line = edge.wait_call_line(event="call", call_id=call_id)
        assert line["media"]["codec"] == "PCMU"
        for side in ("caller", "callee"):
            figures = line["media"][side]
            assert (figures["packets"], figures["octets"], figures["lost"]) == (PACKETS, PACKETS * 172, 0)
            assert "wrong_source" not in figures
    found = edge.wait_stats(lambda stats: stats["rtp_in"] and not stats["media_sessions"], "the sessions are closed")
    assert (found["rtp_in"], found["rtp_out"]) == (2 * CALLS * PACKETS,) * 2
    assert (found["media_ports_used"], found["rtp_wrong_source"], found["rtp_send_failed"]) == (0, 0, 0)
