"""What has to be done before two legs that have agreed on something each can hear each other."""
import pytest

from sipcore.anchor.agreement import Agreement, compare
from sipcore.anchor.legcodecs import Said, answer, in_use_first, names, payload
from sipcore.anchor.mediaerror import MediaError

MAPS = {"96": "opus/48000/2", "97": "AMR-WB/16000", "98": "iLBC/8000", "101": "telephone-event/8000",
        "102": "telephone-event/8000", "111": "opus/48000/2"}


def sdp(formats: str, *more: str, port: int = 4000, host: str = "192.0.2.1") -> bytes:
    lines = ["v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0", f"m=audio {port} RTP/AVP {formats}"]
    lines += [f"a=rtpmap:{one} {MAPS[one]}" for one in formats.split() if one in MAPS]
    return "".join(f"{line}\r\n" for line in (*lines, *more)).encode()


def said(local: str, remote: str, *more: str, ours: bool = False) -> Said:
    return Said(sdp(local, *more), sdp(remote), ours)


PLAIN = said("8 0 101", "8 0 101")


@pytest.mark.parametrize(("caller", "target", "outcome", "side"), [
    (PLAIN, PLAIN, "same", -1),
    # One answers with one codec only: the one in use.
    (PLAIN, said("8 0 101", "8"), "same", -1),
    (said("8 101", "8 0 101", ours=True), said("8 0 101", "8 0 101"), "same", -1),
    # The caller agreed on PCMA alone and the target took PCMU: the caller has it too.
    (said("8 101", "8 0 101", ours=True), said("8 0 101", "0 101"), "reinvite", 0),
    # Only the target has more.
    (said("8 101", "8 101"), said("0 101", "8 0 101", ours=True), "reinvite", 2),
    (said("8", "8"), said("0", "0"), "none", -1),
    (said("111", "111"), said("96", "96"), "renumber", -1),
    (said("8 101", "8 101"), said("8 102", "8 102"), "renumber", -1),
    # Telephone events alone are no audio.
    (said("8 101", "8 101"), said("101", "101"), "none", -1),
    # A comfort noise that only one has, or a telephone-event, is no reason.
    (said("8 13 101", "8 13 101"), said("8", "8"), "same", -1),
    # The agent had put the caller on hold.
    (said("8", "8", "a=sendonly"), PLAIN, "reinvite", 0),
    (said("8", "8", "a=inactive"), PLAIN, "reinvite", 0),
    # The caller holds: its own business.
    (said("8", "8", "a=recvonly", ours=True), PLAIN, "same", -1),
])
def test_outcome(caller: Said, target: Said, outcome: str, side: int) -> None:
    found = compare(0, caller, 2, target)
    assert (found.outcome, found.side) == (outcome, side), found
    if outcome == "reinvite":
        assert found.from_side == 2 - side
    assert bool(found.why) == (outcome != "same")


def test_renumbering_goes_both_ways() -> None:
    # The caller sends opus as 111 and wants 96, which the target sends and wants too; its events are 101 at both.
    found = compare(0, said("111 101", "96 102"), 2, said("96 102", "96 101"))
    assert found.outcome == "renumber"
    assert found.maps == {(0, 2): {111: 96}, (0, 0): {}}


def test_g711_may_be_converted_by_rule() -> None:
    one, two = said("8 101", "8 101"), said("0 101", "0 101")
    assert compare(0, one, 2, two).outcome == "none"
    found = compare(0, one, 2, two, transcode=True)
    assert found.outcome == "transcode"
    assert found.maps == {(0, 2): {8: 0}, (0, 0): {0: 8}}
    assert found.laws == {(0, 2): {8: "PCMU"}, (0, 0): {0: "PCMA"}}
    assert compare(0, one, 2, said("111", "111"), transcode=True).outcome == "none"


def test_the_layout_of_packets_makes_another_codec() -> None:
    aligned = Said(sdp("97", "a=fmtp:97 octet-align=1; mode-set=0"), sdp("97", "a=fmtp:97 octet-align=1"), False)
    dense = said("97", "97")
    assert compare(0, aligned, 2, dense).outcome == "none"
    assert compare(0, aligned, 2, aligned).outcome == "same"
    explicit = Said(sdp("97", "a=fmtp:97 octet-align=0"), sdp("97"), False)
    assert compare(0, explicit, 2, dense).outcome == "same"


def test_packets_that_are_too_long() -> None:
    short = Said(sdp("8"), sdp("8", "a=ptime:20", "a=maxptime:20"), False)
    found = compare(0, said("8", "8", "a=ptime:40"), 2, short)
    assert (found.outcome, found.side, found.from_side) == ("reinvite", 0, 2)
    assert compare(0, said("8", "8", "a=ptime:40", "a=maxptime:20"), 2, short).outcome == "same"
    # Another ptime alone is a wish (RFC 8866 6.4).
    assert compare(0, said("8", "8", "a=ptime:40"), 2, said("8", "8")).outcome == "same"


def test_no_audio() -> None:
    closed = Said(sdp("8", port=0), sdp("8", port=0), False)
    assert compare(0, closed, 2, PLAIN) == Agreement("none", "no audio section that both have")


@pytest.mark.parametrize(("local", "remote", "ours", "expected"), [
    ("8 101", "0 8 101", True, "8 0 101"),
    ("0 8 101", "0 8 101", True, "0 8 101"),
    ("18 8 101", "0 18 8 101", True, "18 8 0 101"),
    ("8 0", "0 8", False, "0 8"),
    ("3", "0 8", True, "0 8"),
])
def test_the_codecs_in_use_are_offered_first(local: str, remote: str, ours: bool, expected: str) -> None:
    offered = in_use_first(Said(sdp(local), sdp(remote), ours))
    assert offered == sdp(remote).replace(f"RTP/AVP {remote}\r".encode(), f"RTP/AVP {expected}\r".encode())


def test_the_last_line_needs_no_end() -> None:
    bare = b"v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP 0 8"
    assert in_use_first(Said(sdp("8"), bare, True)) == bare[:-3] + b"8 0"


def test_names_and_numbers() -> None:
    leg = said("111 9 0 101", "96 9 101")
    assert names(leg, 0) == ("OPUS", "G722")
    assert payload(leg, 0, "opus") == 96
    assert payload(leg, 0, "G722") == 9
    assert payload(leg, 0, "PCMU") is None
    assert names(leg, 1) == ()


def test_an_answer_made_here() -> None:
    offer = sdp("18 96 8 102", "a=fmtp:102 0-15", "a=ptime:30", "a=rtcp-mux", "a=sendonly", "a=crypto:1 x inline:y",
                "m=video 5000 RTP/AVP 99", "m=audio 6000 RTP/SAVP 8")
    made = answer(offer, sdp("8 111 101"), 0b001).decode().splitlines()
    assert made[5:] == [
        "m=audio 9 RTP/AVP 8 96 102", "a=rtpmap:96 opus/48000/2", "a=rtpmap:102 telephone-event/8000",
        "a=fmtp:102 0-15", "a=ptime:30", "a=rtcp-mux", "a=recvonly",
        "m=video 0 RTP/AVP 99", "m=audio 0 RTP/SAVP 8",
    ]
    with pytest.raises(MediaError, match="none of the codecs"):
        answer(offer, sdp("0 101"), 0b001)
    assert "m=audio 9 RTP/AVP 18 96 8 102" in answer(offer, None, 0b001).decode()
    assert answer(sdp("8", port=0), sdp("8"), 0).decode().splitlines()[5] == "m=audio 0 RTP/AVP 8"
