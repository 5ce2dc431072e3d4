"""Keys in session descriptions: any lines below a section, what can be used of them, and others in their place."""
from sipcore.anchor.sdes import identifiers, usable, with_profile
from sipcore.media.srtpkey import NAMES, key_size
from tests.fuzz import harness

HEAD = (b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
        b"m=audio 4000 RTP/SAVP 0\r\n")
KEY = b"WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
CM = "AES_CM_128_HMAC_SHA1_80"


def target(data: bytes) -> None:
    description = HEAD + data
    try:
        found = usable(description)
    except ValueError:
        return
    tags = [tag for tag, _, _ in found]
    assert len(set(tags)) == len(tags)
    for tag, suite, key in found:
        assert 0 <= tag < 10**9
        assert len(key) == key_size(suite)
    assert all(len(mki) <= 16 for mki in identifiers(description))
    assert len(identifiers(description)) == len(found)
    made = with_profile(description, 0, "secure", [CM])
    (own,) = usable(made)
    assert own[:2] == (1, CM)
    assert own[2] not in [key for _, _, key in found]
    assert usable(with_profile(made, 0, "plain")) == []


SEEDS = [
    b"", *(b"a=crypto:%d %s inline:%s%s\r\na=ptime:20\r\n" % (number, name.encode(), KEY, more)
           for number, (name, more) in enumerate(zip(NAMES, (
               b"", b"|2^20", b"|1:4", b"|2^31|66051:4 WSH=64", b"|340282366920938463463374607431768211455:16",
               b" KDR=1"), strict=True))),
    b"a=crypto:1 %s inline:%s;inline:%s|1:4\r\na=fingerprint:sha-1 AA\r\na=crypto:1 x\r\n" % (CM.encode(), KEY, KEY),
]

if __name__ == "__main__":
    harness.run(target, SEEDS)
