"""Media addresses, the relay's settings, and routes that anchor: what may stand there, and what is said where not."""
import pytest

from proxy.config import Media
from proxy.policy.media import choices, parse_ports, sessions

from .test_config import SIMPLE, decode, fault, faults

ANCHORED = SIMPLE + 'media = "anchor"\n'
LOCAL = '[[media]]\nname = "local"\nbind = "192.0.2.1"\n'
V6 = '[[listener]]\nname = "v6"\nbind = "udp:[2001:db8::1]:5060"\n'


def test_few_lines_anchor_the_audio():
    config = decode(ANCHORED + LOCAL)
    assert config.media == (Media(name="local", bind="192.0.2.1", ports="16384-32767"),)
    assert config.routes[0].media == "anchor"
    assert (config.relay.learning, config.relay.on_timeout, config.relay.other) == ("signalled-first", "warn", "refuse")
    assert sessions(config) == 4096, "two pairs a stream"
    assert sessions(decode(ANCHORED + LOCAL + "[relay]\nsessions = 100\n")) == 100


def test_audio_passes_where_nothing_is_said():
    assert decode(SIMPLE).routes[0].media == "pass"


@pytest.mark.parametrize(("addition", "expected"), [
    ('[[media]]\nname = "a"\nbind = "pbx.example.com"\n',
     '3: media[0].bind: expected an IP address such as "192.0.2.10" or "2001:db8::10", found "pbx.example.com"'),
    ('[[media]]\nname = "a"\nbind = "192.0.2.1:4000"\n',
     '3: media[0].bind: expected an IP address such as "192.0.2.10" or "2001:db8::10", found "192.0.2.1:4000"'),
    ('[[media]]\nname = "a"\nbind = "0.0.0.0"\n',
     '3: media[0].bind: expected the address of one interface, found "0.0.0.0"'),
    ('[[media]]\nname = "a"\nbind = "ff02::1"\n',
     '3: media[0].bind: expected the address of one interface, found "ff02::1"'),
    ('[[media]]\nname = "a"\nbind = "::ffff:192.0.2.1"\n',
     '3: media[0].bind: expected the address of one interface, found "::ffff:192.0.2.1"'),
    (LOCAL + 'advertise = "edge"\n',
     '4: media[0].advertise: expected an IP address such as "192.0.2.10" or "2001:db8::10", found "edge"'),
    (LOCAL + 'advertise = "2001:db8::1"\n',
     '4: media[0].advertise: expected an address of the family of "192.0.2.1", found "2001:db8::1"'),
    (LOCAL + 'ports = "16385-32767"\n',
     "4: media[0].ports: expected an even first port (RTP has the even one of each pair), found \"16385-32767\""),
    (LOCAL + 'ports = "16384-16384"\n',
     '4: media[0].ports: has no pair of ports, found "16384-16384"; expected a last port above the first'),
    (LOCAL + 'ports = "20000-10000"\n',
     '4: media[0].ports: has no pair of ports, found "20000-10000"; expected a last port above the first'),
    (LOCAL + 'ports = "16384-70000"\n',
     '4: media[0].ports: expected ports from 1 to 65535, found "16384-70000"'),
    (LOCAL + 'ports = "16384"\n',
     '4: media[0].ports: expected a range of ports such as "16384-32767", found "16384"'),
    (LOCAL + 'ports = "5000-5999"\n',
     '4: media[0].ports: 5000-5999 has port 5060 of listener "lan"; expected a range without it'),
    (LOCAL + 'listeners = ["wan"]\n',
     '4: media[0].listeners[0]: no listener is called "wan"; expected one of: "lan"'),
    (LOCAL + '[[media]]\nname = "local"\nbind = "192.0.2.2"\n',
     '5: media[1].name: a second media is called "local"; expected each name once'),
    (LOCAL + '[[media]]\nname = "b"\nbind = "192.0.2.1"\nports = "32766-32769"\n',
     '7: media[1].ports: overlaps with 16384-32767 of media "local" on 192.0.2.1; expected ranges apart'),
    ('[[media]]\nname = "v6"\nbind = "2001:db8::1"\nlisteners = ["lan"]\n',
     '4: media[0].listeners: listener "lan" is bound to udp:192.0.2.1:5060; expected listeners of the family of '
     '"2001:db8::1"'),
    (LOCAL + 'ports = "16384-17383"\n[relay]\nsessions = 251\n',
     "6: relay.sessions: 251 sessions take 502 pairs of ports, the ranges of [[media]] have 500; expected wider "
     "ranges, or at most 250 sessions"),
    ("[relay]\nsilence_seconds = 30\ntimeout_seconds = 20\n",
     "3: relay.timeout_seconds: expected at least silence_seconds (30), found 20"),
    ('[relay]\nlearning = "all"\n',
     '2: relay.learning: expected one of "any", "off", "signalled-first", found "all"'),
    ('[relay]\nkinds = []\n', "2: relay.kinds: expected an array of length >= 1, found an array of 0"),
    ('[relay]\nlearn_second = 1\n', '2: relay.learn_second: unknown key; did you mean "learn_seconds"?'),
    ('[[route]]\nto = "pbx"\nmedia = "anchor"\n',
     '3: route[1].media: "anchor" needs an address for the audio; expected a [[media]]'),
    (LOCAL + '[[route]]\nto = "pbx"\nmedia = "anchor"\nrecord_route = false\n',
     '6: route[1].media: "anchor" needs the edge to stay in the dialog; expected record_route = true'),
    (LOCAL + '[[route]]\nto = "pbx"\nmedia = "anchor"\nmethods = ["OPTIONS"]\n',
     '6: route[1].media: "anchor" acts on calls; expected "INVITE" among the methods'),
    ('[[route]]\nto = "pbx"\nlearning = "any"\n',
     '3: route[1].learning: acts on anchored media only; expected media = "anchor" beside it'),
    ('[[route]]\nto = "pbx"\nrecord = "calls"\n',
     '3: route[1].record: acts on anchored media only; expected media = "anchor" beside it'),
    ('[[route]]\nto = "pbx"\nsrtp = "never"\n',
     '3: route[1].srtp: acts on anchored media only; expected media = "anchor" beside it'),
    ('[[upstream]]\nname = "far"\nsrtp = "require"\ntargets = [{address = "192.0.2.8"}]\n[[route]]\nto = "far"\n',
     '5: route[1].media: upstream "far" has srtp = "require", which acts on anchored media only; expected "anchor"'),
    ('[relay]\nsrtp_suites = []\n', "2: relay.srtp_suites: expected an array of length >= 1, found an array of 0"),
    ('[[route]]\nto = "pbx"\nmedia = "anchored"\n',
     '3: route[1].media: expected one of "anchor", "pass", found "anchored"'),
])
def test_a_wrong_value_is_named_with_line_and_path(addition, expected):
    assert fault(addition) == expected


def test_other_problems_hide_no_media_problem():
    lines = faults(SIMPLE + LOCAL + 'ports = "1-2"\n[relay]\nsilence_seconds = -1\n')
    assert len(lines) == 1, "types first"
    assert faults(SIMPLE.replace("192.0.2.1:5060", "nowhere") + LOCAL + 'ports = "1-2"\n') == [
        'edge.toml:3: listener[0].bind: expected an IP address and port such as "192.0.2.10:5060" or '
        '"[2001:db8::10]:5060", found "nowhere"',
        'edge.toml:15: media[0].ports: expected an even first port (RTP has the even one of each pair), found "1-2"']


def test_a_wildcard_listener_stands_on_every_address_of_its_family():
    text = SIMPLE.replace("udp:192.0.2.1:5060", 'udp:0.0.0.0:20000"\nadvertise = "192.0.2.1:20000')
    assert faults(text + LOCAL) == [
        'edge.toml:13: media[0].ports: 16384-32767 has port 20000 of listener "lan"; expected a range without it']
    decode(text + '[[media]]\nname = "v6"\nbind = "2001:db8::1"\n')


class TestFamilies:
    """A route that anchors needs an address for every listener that its calls may use."""

    def test_of_the_caller(self):
        assert fault(V6 + LOCAL, ANCHORED) == (
            '0: route[0].media: its calls may use listener "v6" (udp:[2001:db8::1]:5060), and no [[media]] is for '
            "that; expected one with an IPv6 address")
        decode(ANCHORED.replace('["192.0.2.0/24"]', '["192.0.2.0/24"]\nlisteners = ["lan"]') + V6 + LOCAL)

    def test_of_the_target(self):
        narrow = ANCHORED.replace('["192.0.2.0/24"]', '["192.0.2.0/24"]\nlisteners = ["lan"]')
        text = narrow.replace("192.0.2.9:5060", "[2001:db8::9]:5060")
        assert "no [[media]] is for that; expected one with an IPv6 address" in fault(V6 + LOCAL, text)
        decode(text + V6 + LOCAL + '[[media]]\nname = "v6"\nbind = "2001:db8::1"\n')

    def test_along_the_request_uri_every_family(self):
        text = ANCHORED.replace('["192.0.2.0/24"]', '["192.0.2.0/24"]\nlisteners = ["lan"]').replace(
            'to = "pbx"', 'to = "request-uri"')
        assert "IPv6 address" in fault(V6 + LOCAL, text)

    def test_an_address_for_another_listener_does_not_count(self):
        other = '[[listener]]\nname = "b"\nbind = "udp:192.0.2.1:5062"\n'
        assert fault(other + LOCAL + 'listeners = ["b"]\n', ANCHORED) == (
            '0: route[0].media: its calls may use listener "lan" (udp:192.0.2.1:5060), and no [[media]] is for that; '
            "expected one with an IPv4 address")


def test_addresses_that_name_a_listener_come_first():
    config = decode(ANCHORED + LOCAL + '[[media]]\nname = "b"\nbind = "192.0.2.2"\nlisteners = ["lan"]\n'
                    + '[[media]]\nname = "c"\nbind = "192.0.2.3"\n' + V6 + '[[media]]\nname = "d"\nbind = "::1"\n')
    assert choices(config, 0) == [1, 0, 2]
    assert choices(config, 1) == [3]


def test_ports_are_read_with_the_last_one():
    assert parse_ports("16384-17383") == range(16384, 17384)
