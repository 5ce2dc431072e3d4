"""Captures as other people's readers see them: scapy for the bytes, tshark for what it makes of a whole call."""
import json
import random
import shutil
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.utils import PcapReader

from sipcore.media.packet import Packet
from sipcore.media.pcap import Capture, _checksum
from sipcore.media.sound import prepare

from .stage import rtp
from .tones import tone

START = 1_700_000_000_123_456_789


@pytest.mark.parametrize(("source", "destination", "layer"), [
    (("192.0.2.1", 5060), ("198.51.100.7", 65535), IP),
    (("2001:db8::1", 5060), ("fe80::2%eth0", 1), IPv6),
])
@pytest.mark.parametrize("payload", [b"", b"x", b"hello", bytes(range(256)) * 8])
def test_headers_are_right(tmp_path, source, destination, layer, payload):
    with Capture(tmp_path / "a.pcap") as capture:
        capture.write(START, source, destination, payload)
    with PcapReader(str(tmp_path / "a.pcap")) as reader:
        (packet,) = list(reader)
    assert int(packet.time * 1_000_000_000) == START
    raw = bytes(packet)
    parsed = layer(raw)
    assert (parsed.src, parsed.dst) == (source[0], destination[0].partition("%")[0])
    assert (parsed[UDP].sport, parsed[UDP].dport) == (source[1], destination[1])
    assert bytes(parsed[UDP].payload) == payload
    # Scapy works out the checksums that are taken away, and comes to the same.
    again = layer(raw)
    del again[UDP].chksum
    if layer is IP:
        del again[IP].chksum
    assert bytes(again) == raw


@given(st.binary(max_size=200))
def test_the_checksum_is_that_of_rfc_1071(data):
    padded = data + bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert _checksum(data) == ~total & 0xFFFF


def test_a_full_file_takes_no_more(tmp_path):
    with Capture(tmp_path / "a.pcap", limit=1000) as capture:
        for _ in range(10):
            capture.write(START, ("192.0.2.1", 1), ("192.0.2.2", 2), bytes(172))
    assert (capture.written, capture.dropped) == (4, 6)
    assert (tmp_path / "a.pcap").stat().st_size <= 1000


@pytest.mark.parametrize(("source", "destination", "payload", "message"), [
    (("192.0.2.1", 1), ("2001:db8::1", 2), b"", "one family"), (("host", 1), ("192.0.2.1", 2), b"", "IP literals"),
    (("192.0.2.1", 1), ("192.0.2.2", 2), bytes(65_536), "fits into a datagram"),
])
def test_packets_that_cannot_be(tmp_path, source, destination, payload, message):
    with Capture(tmp_path / "a.pcap") as capture, pytest.raises(ValueError, match=message):
        capture.write(START, source, destination, payload)


CALLER, EDGE = "192.0.2.10", "198.51.100.1"


def sip(first, body):
    head = (
        f"{first}\r\nVia: SIP/2.0/UDP {CALLER}:5060;branch=z9hG4bKa\r\nFrom: <sip:a@example.com>;tag=a\r\n"
        f"To: <sip:b@example.com>;tag=b\r\nCall-ID: capture@example.com\r\nCSeq: 1 INVITE\r\n"
        f"Contact: <sip:a@{CALLER}>\r\nContent-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


def sdp(host, port):
    return (f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n")


def tshark(path, *arguments):
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    command = ["tshark", "-n", "-r", str(path), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_tshark_finds_the_call_and_its_streams(tmp_path):
    """Nobody tells it that these ports are RTP but the SDP in the same file."""
    path, rng = tmp_path / "call.pcap", random.Random(1)
    frames = prepare(tone(500, 1), 8000, codecs=["PCMA"]).frames["PCMA"]
    with Capture(path) as capture:
        a, b = (CALLER, 5060), (EDGE, 5060)
        capture.write(START, a, b, sip("INVITE sip:b@example.com SIP/2.0", sdp(CALLER, 31_000)))
        capture.write(START + 10**6, b, a, sip("SIP/2.0 200 OK", sdp(EDGE, 42_000)))
        for i in range(50):
            data = rtp(i, i * 160, ssrc=0xAAAA, payload=frames[i * 160: i * 160 + 160])
            at = 5_000_000 + i * 20_000_000 + rng.randrange(2_000_000)
            for packet in (
                Packet(at, 0, 1, 0, False, False, (CALLER, 31_000), data),
                Packet(at + 9000, 0, 1, 0, True, False, (CALLER, 31_000), data[:8] + b"\0\0\xbb\xbb" + data[12:]),
            ):
                if i != 20:  # one is lost
                    capture.write_copy(packet, (EDGE, 42_000), START)
        report = struct.pack("!BBHI", 0x80, 201, 1, 0xAAAA)
        capture.write_copy(Packet(9**9, 0, 1, 0, False, True, (CALLER, 31_001), report), (EDGE, 42_001), START)
    packets = json.loads(tshark(path, "-T", "json", "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"))
    layers = [packet["_source"]["layers"] for packet in packets]
    kinds = [next(name for name in ("sip", "rtp", "rtcp", "udp") if name in each) for each in layers]
    assert kinds == ["sip"] * 2 + ["rtp"] * 98 + ["rtcp"]
    assert layers[0]["sip"]["sip.msg_hdr_tree"]["sip.Call-ID"] == "capture@example.com"
    assert {each["udp"]["udp.checksum.status"] for each in layers} == {"1"}
    assert {each["ip"]["ip.checksum.status"] for each in layers} == {"1"}
    streams = [line.split() for line in tshark(path, "-q", "-z", "rtp,streams").splitlines() if "0x0000" in line]
    assert len(streams) == 2
    for stream in streams:
        assert "g711A" in stream
        assert "49" in stream
        assert "1" in stream  # lost
