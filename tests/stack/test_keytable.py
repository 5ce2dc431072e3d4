"""The table of server transactions, against a dict."""
from hypothesis import given
from hypothesis import strategies as st

from sipcore.stack.probe import Keys

CAPACITY = 200


@given(st.randoms(use_true_random=True), st.integers(1, 6))
def test_as_a_dict(random, kinds):
    # Few high halves, which choose the bucket and tell keys apart in it: more in some buckets than there is room for,
    # and all of them alike there.
    halves = [random.getrandbits(32) for _ in range(kinds)]

    def new():
        high = random.choice(halves) if random.random() < 0.8 else random.getrandbits(32)
        return high << 32 | random.getrandbits(32)

    table = Keys(CAPACITY)
    there: dict[int, int] = {}
    free = list(range(CAPACITY))
    seen = set()
    for wanted in (150, 60, 200, 20, 100, 0):
        while len(there) != wanted:
            if len(there) < wanted:
                key = new()
                seen.add(key)
                there[key] = free.pop(random.randrange(len(free)))
                table.enter(there[key], key)
            else:
                key = random.choice(list(there))
                free.append(there[key])
                table.leave(there.pop(key))
        assert [table.find(key) for key in seen] == [there.get(key) for key in seen]


def test_it_grows_with_what_is_in_it_as_far_as_there_is_room_for():
    table = Keys(3000)
    keys = [slot * 0x9E3779B97F4A7C15 % 2**64 for slot in range(3000)]
    sizes = []
    for slot, key in enumerate(keys):
        table.enter(slot, key)
        sizes.append(table.buckets)
    assert (sizes[0], sizes[1000], sizes[-1]) == (1, 501, 1001)
    assert [table.find(key) for key in keys] == list(range(3000))
