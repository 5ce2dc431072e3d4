"""CSeq and bare numbers against regular expressions."""
import re

from sipcore.wire.cseq import read_cseq, read_uint
from sipcore.wire.fault import WireFault
from tests.fuzz import harness

LWS = rb"(?:(?:\r\n)?[ \t])"
CSEQ = re.compile(rb"%b*([0-9]+)%b+([A-Za-z0-9\-.!%%*_+`'~]+)%b*" % (LWS, LWS, LWS))
# Behind a number, line ends that the index would have refused are no matter.
NUMBER = re.compile(rb"%b*([0-9]+)[ \t\r\n]*" % LWS)


def target(data: bytes) -> None:
    data = data[:300]
    match = CSEQ.fullmatch(data)
    expected = (int(match[1]), match[2].decode()) if match and int(match[1]) < 2**31 else None
    try:
        assert read_cseq(data) == expected
    except WireFault:
        assert expected is None
    match = NUMBER.fullmatch(data)
    for limit in (0, 255, 65535, 2**32 - 1):
        number = int(match[1]) if match and int(match[1]) <= limit else None
        try:
            assert read_uint(data, limit) == number
        except WireFault:
            assert number is None


SEEDS = [*harness.values(b"CSeq", b"Content-Length", b"Max-Forwards"), b"0009\r\n  INVITE", b" 2147483647\tACK ",
         b"4294967295", b"18446744073709551617", b"\t 255 "]

if __name__ == "__main__":
    harness.run(target, SEEDS)
