"""SipHash against the published vectors, against the interpreter's own, and the slices' form against a model."""
import os
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.base.siphash import hash13, hash24, hash_slices

KEY = bytes(range(16))
MASK = (1 << 64) - 1

# The designers' vectors for SipHash-2-4: key 00..0f, message 00, 00 01, 00 01 02, ... (vectors_sip64).
VECTORS_24 = """
310e0edd47db6f72 fd67dc93c539f874 5a4fa9d909806c0d 2d7efbd796666785 b7877127e09427cf 8da699cd64557618 cee3fe586e46c9cb
37d1018bf50002ab 6224939a79f5f593 b0e4a90bdf82009e f3b9dd94c5bb5d7a a7ad6b22462fb3f4 fbe50e86bc8f1e75 903d84c02756ea14
eef27a8e90ca23f7 e545be4961ca29a1 db9bc2577fcc2a3f 9447be2cf5e99a69 9cd38d96f0b3c14b bd6179a71dc96dbb 98eea21af25cd6be
c7673b2eb0cbf2d0 883ea3e395675393 c8ce5ccd8c030ca8 94af49f6c650adb8 eab8858ade92e1bc f315bb5bb835d817 adcf6b0763612e2f
a5c91da7acaa4dde 716595876650a2a6 28ef495c53a387ad 42c341d8fa92d832 ce7cf2722f512771 e37859f94623f3a7 381205bb1ab0e012
ae97a10fd434e015 b4a31508beff4d31 81396229f0907902 4d0cf49ee5d4dcca 5c73336a76d8bf9a d0a704536ba93e0e 925958fcd6420cad
a915c29bc8067318 952b79f3bc0aa6d4 f21df2e41d4535f9 87577519048f53a9 10a56cf5dfcd9adb eb75095ccd986cd0 51a9cb9ecba312e6
96afadfc2ce666c7 72fe52975a4364ee 5a1645b276d592a1 b274cb8ebf87870a 6f9bb4203de7b381 eaecb2a30b22a87f 9924a43cc1315724
bd838d3aafbf8db7 0b1a2a3265d51aea 135079a3231ce660 932b2846e4d70666 e1915f5cb1eca46c f325965ca16d629f 575ff28e60381be5
724506eb4c328a95
"""


def words(data: bytes) -> list[int]:
    padded = data + bytes(-len(data) % 8)
    return [word for (word,) in struct.iter_unpack("<Q", padded)]


def sip(key: bytes, message: list[int], c: int, d: int) -> int:
    """SipHash of whole words, as the paper describes it: the last word is part of the message."""
    k0, k1 = words(key)
    v0, v1 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    v2, v3 = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573

    def rotate(word: int, bits: int) -> int:
        return (word << bits | word >> (64 - bits)) & MASK

    def rounds(n: int) -> None:
        nonlocal v0, v1, v2, v3
        for _ in range(n):
            v0, v2 = (v0 + v1) & MASK, (v2 + v3) & MASK
            v1, v3, v0 = rotate(v1, 13) ^ v0, rotate(v3, 16) ^ v2, rotate(v0, 32)
            v2, v0 = (v2 + v1) & MASK, (v0 + v3) & MASK
            v1, v3, v2 = rotate(v1, 17) ^ v2, rotate(v3, 21) ^ v0, rotate(v2, 32)

    for word in message:
        v3 ^= word
        rounds(c)
        v0 ^= word
    v2 ^= 0xFF
    rounds(d)
    return v0 ^ v1 ^ v2 ^ v3


def test_published_vectors_24() -> None:
    vectors = VECTORS_24.split()
    assert len(vectors) == 64
    for n, expected in enumerate(vectors):
        assert struct.pack("<Q", hash24(KEY, bytes(range(n)))).hex() == expected, n


@pytest.mark.skipif(sys.hash_info.algorithm != "siphash13", reason="the interpreter hashes with something else")
def test_13_is_the_interpreters_hash() -> None:
    """With PYTHONHASHSEED=0 the interpreter hashes bytes by SipHash-1-3 under a key of zeros."""
    code = "print(*(hash(bytes(range(n))) for n in range(1, 200)))"
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, check=True
    )
    theirs = [int(text) & MASK for text in run.stdout.split()]
    assert [hash13(bytes(16), bytes(range(n))) for n in range(1, 200)] == theirs


def test_published_values_13() -> None:
    assert hash13(bytes(16), b"") == 0xD1FBA762150C532C
    assert hash13(KEY, b"") == 0xABAC0158050FC4DC


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=300))
def test_one_shot_is_the_papers(key: bytes, data: bytes) -> None:
    message = words(data + bytes(7 - len(data) % 8) + bytes([len(data) & 255]))
    assert hash13(key, data) == sip(key, message, 1, 3)
    assert hash24(key, data) == sip(key, message, 2, 4)


@given(st.binary(min_size=16, max_size=16), st.lists(st.binary(max_size=40), max_size=6))
def test_slices_are_the_hash_of_lengths_and_contents(key: bytes, slices: list[bytes]) -> None:
    message = [word for part in slices for word in [len(part), *words(part)]] + [sum(map(len, slices))]
    assert hash_slices(key, slices) == sip(key, message, 1, 3)
    assert hash_slices(key, slices, forgeproof=True) == sip(key, message, 2, 4)


@given(st.lists(st.binary(max_size=9), max_size=4), st.lists(st.binary(max_size=9), max_size=4))
def test_other_slices_hash_differently(one: list[bytes], other: list[bytes]) -> None:
    assert (hash_slices(KEY, one) == hash_slices(KEY, other)) == (one == other)


def test_where_the_slices_end_matters() -> None:
    spellings = [[b"ab", b"c"], [b"a", b"bc"], [b"abc"], [b"abc", b""], [b"", b"abc"], [b"ab", b"c\0"]]
    assert len({hash_slices(KEY, slices) for slices in spellings}) == len(spellings)


@pytest.mark.parametrize("key", [b"", bytes(15), bytes(17)])
def test_a_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match=f"16 bytes, not {len(key)}"):
        hash13(key, b"")
