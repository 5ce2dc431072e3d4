"""Messages as somebody may read them: no key is left, and no byte more or less."""
import pytest

from sipcore.wire.keys import hide_keys

KEY = b"d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"


@pytest.mark.parametrize(("said", "shown"), [
    (b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:%s\r\n", b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:%s\r\n"),
    (b"a=crypto:1 X inline:%s|2^20|1:4 KDR=0\r\n", b"a=crypto:1 X inline:%s|2^20|1:4 KDR=0\r\n"),
    (b"a=CRYPTO:2 X INLINE:%s;inline:%s", b"a=CRYPTO:2 X INLINE:%s;inline:%s"),
    (b"k=%s\r\n", b"k=%s\r\n"),
    (b"a=key-mgmt:%s\r\n", b"a=key-mgmt:%s\r\n"),
])
def test_keys_are_hidden(said: bytes, shown: bytes) -> None:
    before = b"INVITE sip:b SIP/2.0\r\n\r\nv=0\r\ns=inline:kept\r\nb=k=kept\r\n"
    message = before + said.replace(b"%s", KEY)
    hidden = hide_keys(message)
    assert hidden == before + shown.replace(b"%s", b"*" * len(KEY))
    assert len(hidden) == len(message)
