"""Which calls are anchored, and how."""
from proxy.config import Srtp, decode
from proxy.policy.media import Profile, profiles, without_keys

from .sample import PBX, header_set, policy, refer, request

MEDIA = '[[media]]\nname = "local"\nbind = "127.0.0.1"\n'
PASSES: tuple[Srtp, Srtp] = ("pass", "pass")
ROUTES = PBX + MEDIA + """\
[[route]]
to = "pbx"
prefixes = ["1"]
media = "anchor"
[[route]]
to = "pbx"
prefixes = ["2"]
[[route]]
to = "pbx"
prefixes = ["3"]
media = "anchor"
learning = "any"
[[route]]
to = "pbx"
prefixes = ["4"]
media = "anchor"
learning = "signalled-first"
[[route]]
to = "pbx"
prefixes = ["5"]
media = "anchor"
record = "calls"
"""


def test_the_verdict_names_the_route_s_profile():
    edge = policy(ROUTES)
    assert profiles(edge.config) == [
        Profile("signalled-first", "", PASSES), Profile("any", "", PASSES), Profile("signalled-first", "calls", PASSES)]
    found = [edge.decide(request(uri=f"sip:{number}00@127.0.0.1")).anchor for number in range(1, 6)]
    assert found == [1, 0, 2, 1, 3]


def test_the_relay_s_learning_holds_where_a_route_says_nothing():
    edge = policy(ROUTES + '[relay]\nlearning = "off"\n')
    assert [profile.learning for profile in profiles(edge.config)] == ["off", "any", "signalled-first", "off"]


def test_srtp_is_as_the_route_and_its_upstream_say():
    secure = PBX.replace('name = "pbx"\n', 'name = "pbx"\nsrtp = "require"\n')
    assert secure != PBX
    edge = policy(secure + MEDIA + '[[route]]\nto = "pbx"\nmedia = "anchor"\nsrtp = "never"\n'
                  '[[route]]\nto = "request-uri"\nmedia = "anchor"\nprefixes = ["9"]\nsrtp = "offer"\n')
    assert [profile.srtp for profile in profiles(edge.config)] == [("never", "require"), ("offer", "pass")]
    assert edge.decide(request()).anchor == 1
    assert without_keys(edge.config) == []
    strict = policy(secure + MEDIA + '[[route]]\nto = "pbx"\nmedia = "anchor"\n[relay]\nsrtp_signalling = "tls"\n')
    assert without_keys(strict.config) == [0]
    tls = decode('[[listener]]\nname = "t"\nbind = "tls:127.0.0.1:5061"\n[[listener]]\nname = "w"\n'
                 'bind = "ws:127.0.0.1:80"\n[relay]\nsrtp_signalling = "tls"\n', lambda config: [], file="edge.toml")
    assert without_keys(tls) == [1]


def test_only_invites_are_anchored():
    edge = policy(PBX + MEDIA + '[[route]]\nto = "pbx"\nmethods = ["INVITE", "REFER", "OPTIONS"]\nmedia = "anchor"\n'
                  '[[refer]]\n')
    assert edge.decide(request(group=0)).anchor == 1
    assert edge.decide(request("OPTIONS", group=0)).anchor == 0
    assert edge.decide(refer("<sip:2001@127.0.0.4>", in_dialog=False)).anchor == 0
    assert edge.decide(refer("<sip:2001@127.0.0.4>")).anchor == 0


def test_filled_in_headers_and_dropped_ones_keep_it():
    edge = policy(PBX + header_set('name = "X-A", value = "{call_id}"') + MEDIA
                  + '[[route]]\nto = "pbx"\nheaders = ["set"]\nmedia = "anchor"\n')
    invite = request()
    verdict = edge.decide(invite)
    assert (verdict.anchor, verdict.insert) == (1, b"X-A: a84b4c76e66710@192.0.2.1\r\n")
    smaller = edge.oversize(invite, verdict, 2000)
    assert (smaller.anchor, smaller.insert) == (1, b"")
