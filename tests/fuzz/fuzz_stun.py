"""STUN requests: nothing that comes is answered with more than 48 bytes, and every answer belongs to its request."""
from sipcore.wire.stun import stun_answer
from tests.fuzz import harness
from tests.wire.test_stun import attribute, stun


def target(data: bytes) -> None:
    answer = stun_answer(data, "2001:db8::1", 5060)
    if answer:
        assert len(answer) <= 48
        assert len(answer) == 20 + int.from_bytes(answer[2:4], "big")
        assert answer[4:20] == data[4:20]
        assert data[:2] == b"\0\1"
        assert len(data) == 20 + int.from_bytes(data[2:4], "big")


SEEDS = [stun(), stun(0x0011), stun(attributes=attribute(0x0006, b"user")), stun(attributes=attribute(0x0024) * 9)]

if __name__ == "__main__":
    harness.run(target, SEEDS)
