"""Comparison of URIs: the lists of RFC 3261 19.1.4 and RFC 3966 5."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.wire.uri import URI
from sipcore.wire.uriequal import same_uri

from .values import mutated, parsed, plain

EQUAL = [
    ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
    ("sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
     "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"),
    ("sip:alice@atlanta.com?subject=project%20x&priority=urgent",
     "sip:alice@atlanta.com?priority=urgent&subject=project%20x"),
    ("sip:h?a=1&a=2", "sip:h?A=2&a=1"),
    ("sip:h;%6Cr;x=%41", "sip:h;x=a"),
    ("sip:u@[2001:db8::1]", "sip:u@[2001:DB8:0:0::1]"),
    ("tel:+1-201-555-0123", "TEL:+1(201)5550123"),
    ("tel:863-1234;phone-context=+1-914-555;ext=1-2", "tel:8631234;ext=12;phone-context=+1914555"),
    ("Unknown:Abc", "unknown:Abc"),
]
UNEQUAL = [
    ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
    ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
    ("sip:a%3Bb@h", "sip:a;b@h"),
    ("sip:u:@h", "sip:u@h"),
    ("sip:u@h", "sip:h"),
    ("sip:h;maddr=a", "sip:h"), ("sip:h;ttl=1", "sip:h"), ("sip:h;user=ip", "sip:h"), ("sip:h;method=INVITE", "sip:h"),
    ("sip:h?a=1&a=1", "sip:h?a=1"),
    ("sip:h?a=1&a=1&b=2", "sip:h?a=1&b=2&b=2"),
    ("sip:10.0.0.1", "sip:[::1]"),
    ("tel:+1201", "tel:1201"), ("tel:+1201", "tel:+1201;ext=1"),
    ("tel:7042;phone-context=a", "tel:7042;phone-context=b"),
    ("unknown:Abc", "unknown:abc"),
    ("tel:+1201", "sip:+1201@h"),
]


@pytest.mark.parametrize(("a", "b"), EQUAL)
def test_equal(a, b):
    assert same_uri(URI(a), URI(b))
    assert same_uri(URI(b), URI(a))


@pytest.mark.parametrize(("a", "b"), UNEQUAL)
def test_unequal(a, b):
    assert not same_uri(URI(a), URI(b))
    assert not same_uri(URI(b), URI(a))


@given(plain.filter(bool), st.dictionaries(st.sampled_from(["transport", "a", "b", "maddr"]), plain),
       st.lists(st.tuples(st.sampled_from(["X-A", "X-B"]), plain), max_size=4), st.randoms(use_true_random=False))
def test_order_of_parts_makes_no_difference(user, params, headers, random):
    one = URI.build("sip", "example.com", user=user, params=params, headers=headers)
    shuffled, turned = list(params.items()), headers[:]
    random.shuffle(shuffled)
    random.shuffle(turned)
    other = URI.build("sip", "EXAMPLE.com", user=user, params=shuffled, headers=turned)
    assert same_uri(one, other)


@given(mutated([uri.encode() for pair in EQUAL for uri in pair]), mutated([uri.encode() for uri, _ in EQUAL]))
def test_comparison_is_symmetric_and_reflexive(a, b):
    one, other = parsed(URI, a), parsed(URI, b)
    if one is None or other is None:
        return
    assert same_uri(one, one)
    assert same_uri(one, other) == same_uri(other, one)
