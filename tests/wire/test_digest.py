"""Digest authentication: the RFCs' own examples, what is read in one way only, and what can be made of anything."""
import dataclasses
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.base.errors import MalformedMessage
from sipcore.wire.digest import (
    HASHES,
    Challenge,
    Credentials,
    answer,
    choose,
    ha1_of,
    is_hash,
    parse_challenges,
    parse_credentials,
    response_of,
)

# RFC 7616 3.9.1, with its two challenges.
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
RFC7616 = [f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={name}, nonce="{NONCE}", '
           f'opaque="{OPAQUE}"' for name in ("SHA-256", "MD5")]
RESPONSES = {
    "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
    "MD5": "8ca523f5e9506fed4657c9700eebdbec",
}


def credentials_in(text: str) -> Credentials:
    found = parse_credentials(text)
    assert found is not None
    return found


def algorithm_of(challenge: Challenge | None) -> str:
    return challenge.algorithm if challenge is not None else ""


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_the_example_of_rfc_7616(algorithm):
    [challenge] = [one for text in RFC7616 for one in parse_challenges(text) if one.algorithm == algorithm]
    ha1 = ha1_of(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life")
    made = answer(challenge, "Mufasa", ha1, "GET", "/dir/index.html", b"", cnonce=CNONCE)
    assert made.response == RESPONSES[algorithm]
    assert made.render() == (
        f'Digest username="Mufasa", realm="http-auth@example.org", nonce="{NONCE}", uri="/dir/index.html", '
        f'response="{RESPONSES[algorithm]}", algorithm={algorithm}, cnonce="{CNONCE}", qop=auth, nc=00000001, '
        f'opaque="{OPAQUE}"')
    assert parse_credentials(made.render()) == made


def test_the_example_of_rfc_2617():
    credentials = credentials_in(
        'Digest username="Mufasa",\t realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
        'uri="/dir/index.html", qop=auth, nc=00000001, cnonce="0a4f113b", '
        'response="6629fae49393a05397450978507c4ef1", opaque="5ccc069c403ebaf9f0171e9517f40e41"')
    ha1 = ha1_of("MD5", "Mufasa", "testrealm@host.com", "Circle Of Life")
    assert ha1 == "939e7578ed9e3c518a452acee763bce9"
    assert response_of(credentials, ha1, "GET", b"") == credentials.response


def test_without_qop_as_rfc_2069_had_it():
    """The example of RFC 2617 with the shorter formula, computed by hand: MD5(HA1:nonce:HA2)."""
    [challenge] = parse_challenges('Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"')
    made = answer(challenge, "Mufasa", "939e7578ed9e3c518a452acee763bce9", "GET", "/dir/index.html", b"", cnonce="x")
    assert made.response == "670fd8c2df070c60b045671b8b24ff02"
    assert "nc=" not in made.render()
    assert "cnonce" not in made.render()


def test_the_body_counts_where_the_server_wants_nothing_less():
    both, strict = (Challenge(realm="r", nonce="n", algorithm="SHA-256", qop=qop)
                    for qop in (("auth-int", "auth"), ("auth-int",)))
    one, other = (answer(strict, "u", "0" * 64, "INVITE", "sip:x", body, cnonce="c") for body in (b"v=0", b"v=1"))
    assert one.qop == "auth-int"
    assert one.response != other.response
    assert answer(both, "u", "0" * 64, "INVITE", "sip:x", b"", cnonce="c").qop == "auth"


def test_the_session_form_hashes_once_more():
    """RFC 7616 3.4.2: HA1 of the session is H(HA1:nonce:cnonce)."""
    plain, session = (answer(Challenge(realm="r", nonce="n", session=on), "u", "a" * 32, "INVITE", "sip:x", b"",
                             cnonce="c") for on in (False, True))
    assert "algorithm=MD5-sess" in session.render()
    inner = HASHES["MD5"](f"{'a' * 32}:n:c".encode())
    assert session.response == response_of(plain, inner, "INVITE", b"")


def test_the_first_that_can_be_done_is_chosen():
    """RFC 8760 2.4: in the order of whoever asks."""
    challenges = [one for text in reversed(RFC7616) for one in parse_challenges(text)]
    assert [one.algorithm for one in challenges] == ["MD5", "SHA-256"]
    assert algorithm_of(choose(challenges)) == "MD5"
    assert algorithm_of(choose(challenges[::-1])) == "SHA-256"
    assert algorithm_of(choose(challenges[::-1], ["MD5"])) == "MD5"
    assert algorithm_of(choose([Challenge(realm="r", nonce="n", qop=("auth-x",)), *challenges])) == "MD5"
    assert choose(challenges, []) is None
    assert choose([Challenge(realm="r", nonce="n", qop=("auth-x",))]) is None
    assert choose([Challenge(realm="r", nonce="n", qop=(), session=True)]) is None


def test_unknown_schemes_and_algorithms_are_left_out():
    text = ('Basic realm="x", Digest realm="a", nonce="1", algorithm=SHA-512-256, qop="auth", '
            'Digest realm="b", nonce="2", algorithm=md5-SESS, stale=TRUE, Bearer realm="c"')
    assert parse_challenges(text) == [
        Challenge(realm="b", nonce="2", session=True, qop=(), stale=True)]
    assert parse_credentials('Basic dXNlcg=dXNlcg') is None


GOOD = ('Digest username="u", realm="r", nonce="n", uri="sip:x", response="0", qop=auth, nc=00000001, cnonce="c"')


@pytest.mark.parametrize("broken", [
    GOOD.replace('"u"', '"u'), GOOD.replace('"c"', '"c'), GOOD.replace('"c"', '"c\\"'), GOOD.replace('"c"', 'c"'),
    GOOD + ', realm="other"', GOOD + ", NC=00000001", GOOD.replace("nc=00000001", "nc=1"),
    GOOD.replace("nc=00000001", "nc=100000000"), GOOD.replace("nc=00000001", "nc=0000000g"),
    GOOD.replace("nc=00000001", "nc=" + "9" * 3000), GOOD.replace("nc=00000001, ", ""),
    GOOD.replace(', cnonce="c"', ""), GOOD.replace('username="u", ', ""), GOOD.replace('response="0", ', ""),
    GOOD + ", x=" + "y" * 5000, GOOD + "".join(f", x{i}=y" for i in range(40)), GOOD + ", =", GOOD + ", a b",
    GOOD.replace("Digest", ""), "Digest", "", GOOD + ", Digest " + GOOD[7:], GOOD.replace('"c"', '"\0"'),
    GOOD.replace('"c"', '"a\x0bb"'),
])
def test_what_can_be_read_in_two_ways_is_not_read(broken):
    with pytest.raises(MalformedMessage) as caught:
        parse_credentials(broken)
    assert caught.value.status == 400


def test_counts_at_the_ends():
    for text, count in (("00000000", 0), ("ffffffff", 0xFFFFFFFF), ("FFFFFFFF", 0xFFFFFFFF)):
        assert credentials_in(GOOD.replace("00000001", text)).count == count


def test_hashes_are_told_by_their_length():
    assert is_hash("a" * 32)
    assert is_hash("0" * 64)
    assert not any(map(is_hash, ("", "a" * 31, "A" * 32, "g" * 32, "a" * 40)))


TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=40)
TOKEN = st.text(string.ascii_letters + string.digits, min_size=1, max_size=20)
NAMES = st.sampled_from(list(HASHES))


@given(st.builds(Challenge, realm=TEXT, nonce=TEXT, algorithm=NAMES, session=st.booleans(),
                 qop=st.sampled_from([(), ("auth",), ("auth", "auth-int")]), opaque=st.none() | TEXT,
                 stale=st.booleans()))
def test_challenges_there_and_back(challenge):
    assert parse_challenges(challenge.render()) == [challenge]
    assert parse_challenges(challenge.render() + ", " + challenge.render()) == [challenge, challenge]


@given(st.builds(Credentials, username=TEXT, realm=TEXT, nonce=TEXT, uri=TEXT, response=TOKEN.map(str.lower),
                 algorithm=NAMES, session=st.booleans(), qop=st.sampled_from(["auth", "auth-int"]), cnonce=TEXT,
                 count=st.integers(0, 0xFFFFFFFF), opaque=st.none() | TEXT))
def test_credentials_there_and_back(credentials):
    assert parse_credentials(credentials.render()) == credentials
    old = dataclasses.replace(credentials, qop="", cnonce="", count=0)
    assert parse_credentials(old.render()) == old


@given(st.text(max_size=200) | st.text('Digest realm="\\,=1', max_size=60))
def test_any_text_is_read_or_refused(text):
    for parse in (parse_challenges, parse_credentials):
        try:
            parse(text)
        except MalformedMessage:
            continue
