"""Branches and tokens: only what we made is read, and it gives its parts back."""
from sipcore.stack.identity import Identity
from tests.fuzz import harness

IDENTITY = Identity(b"a secret for the fuzz target", 7)
OTHER = Identity(b"the secret of somebody else", 7)
CALL_ID = b"3c26700857a87f84-9b21@192.0.2.10"
BRANCH = IDENTITY.branch(5, 9, 3)
TOKEN = IDENTITY.token(5, 9, CALL_ID)


def target(data: bytes) -> None:
    parts = IDENTITY.parse_branch(data)
    if parts is not None:
        worker, slot, generation, loop = parts
        assert worker == 7
        assert IDENTITY.branch(slot, generation, loop) == data
    assert OTHER.parse_branch(data) is None
    token, _, call_id = data.partition(b"\n")
    found = IDENTITY.parse_token(token, call_id)
    if found is not None:
        assert found[0] == 7
        assert IDENTITY.token(found[1], found[2], call_id) == token
    assert OTHER.parse_token(token, call_id) is None
    # The address in the first bytes: made, read, and refused with any other byte in it.
    slot, generation, loop = (int.from_bytes(data[i:i + 4], "big") for i in (0, 4, 8))
    slot, generation = slot & 0xFFFFFFF, generation & 0xFFFFFF
    branch, token = IDENTITY.branch(slot, generation, loop), IDENTITY.token(slot, generation, data)
    assert IDENTITY.parse_branch(branch) == (7, slot, generation, loop)
    assert IDENTITY.parse_token(token, data) == (7, slot, generation)
    assert IDENTITY.parse_token(token, data + b"x") is None
    if len(data) > 13:
        place = data[12] % len(branch)
        assert data[13] == branch[place] or IDENTITY.parse_branch(
            branch[:place] + data[13:14] + branch[place + 1:]) is None


SEEDS = [BRANCH, TOKEN + b"\n" + CALL_ID, BRANCH[:-1] + b"1", bytes(range(16))]

if __name__ == "__main__":
    harness.run(target, SEEDS)
