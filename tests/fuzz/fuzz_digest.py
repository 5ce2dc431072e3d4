"""Challenges and credentials: read and written again they stay what they were; a check of them never fails oddly."""
from sipcore.base.errors import MalformedMessage
from tests.fuzz import harness

with harness.instrumented("sipcore.wire"):
    from sipcore.wire.digest import HASHES, answer, choose, parse_challenges, parse_credentials, response_of


def target(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        challenges = parse_challenges(text)
    except MalformedMessage:
        challenges = []
    for challenge in challenges:
        assert parse_challenges(challenge.render()) == [challenge]
    chosen = choose(challenges)
    if chosen is not None:
        made = answer(chosen, "user", "0" * 32, "INVITE", "sip:x", b"", cnonce="c")
        assert parse_credentials(made.render()) == made
    try:
        credentials = parse_credentials(text)
    except MalformedMessage:
        return
    if credentials is not None:
        assert not set(credentials.render()) & set("\r\n\0")
        if credentials.algorithm in HASHES:
            assert len(response_of(credentials, "0" * 32, "INVITE", b"")) in (32, 64)


SEEDS = [
    b'Digest realm="a", nonce="b", qop="auth,auth-int", algorithm=SHA-256, opaque="c", stale=true',
    b'Digest realm="a\\"b", nonce="b", Digest realm="x", nonce="y", algorithm=MD5-sess, qop="auth"',
    b'Digest username="u", realm="r", nonce="n", uri="sip:x", response="0", qop=auth, nc=ffffffff, cnonce="c"',
    b'Digest username="u", realm="r", nonce="n", uri="sip:x", response="0123", algorithm=MD5',
    b'Basic realm="x"', b'Digest ,,realm = "a" ,nonce=b',
]

if __name__ == "__main__":
    harness.run(target, SEEDS)
