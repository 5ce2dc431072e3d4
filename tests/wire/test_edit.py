"""The patch list against a naive model of it: any patches, and the size is that of what is rendered."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.wire.edit import Editor

BASE = bytes(range(65, 91))


def naive(base, patches):
    """Sorted by place; at one place insertions first; what begins inside a cut is void."""
    kept: list[tuple[int, int, bytes]] = []
    for patch in patches:
        at, cut, _ = patch
        index = len(kept)
        while index and (kept[index - 1][0] > at or (cut == 0 and kept[index - 1][0] == at and kept[index - 1][1])):
            index -= 1
        kept.insert(index, patch)
    out, cursor = b"", 0
    for at, cut, text in kept:
        if at >= cursor:
            out += base[cursor:at] + text
            cursor = at + cut
    return out + base[cursor:]


@st.composite
def patch_lists(draw):
    base = draw(st.binary(max_size=60))
    patches = []
    for _ in range(draw(st.integers(0, 25))):
        at = draw(st.integers(0, len(base)))
        patches.append((at, draw(st.integers(0, len(base) - at)), draw(st.binary(max_size=8))))
    return base, patches


@given(patch_lists())
def test_any_patches_give_what_the_model_gives(case):
    base, patches = case
    editor = Editor(base)
    for patch in patches:
        editor.replace(*patch)
    rendered = editor.render()
    assert rendered == naive(base, patches)
    assert editor.size == len(rendered)
    assert editor.render() == rendered


@given(st.binary(max_size=200))
def test_no_patches_change_nothing(base):
    editor = Editor(base)
    assert (editor.size, editor.render()) == (len(base), base)


@pytest.mark.parametrize(("patches", "expected"), [
    ([(0, 0, b"1"), (0, 0, b"2")], b"12" + BASE),
    ([(26, 0, b"1"), (26, 0, b"2")], BASE + b"12"),
    ([(0, 26, b"")], b""),
    ([(3, 2, b"x"), (3, 0, b"y")], BASE[:3] + b"yx" + BASE[5:]),
    ([(3, 0, b"y"), (3, 2, b"x")], BASE[:3] + b"yx" + BASE[5:]),
    ([(2, 6, b""), (4, 1, b"gone"), (8, 1, b"-")], BASE[:2] + b"-" + BASE[9:]),
    ([(4, 1, b"gone"), (2, 6, b"")], BASE[:2] + BASE[8:]),
    ([(2, 3, b"a"), (5, 3, b"b")], BASE[:2] + b"ab" + BASE[8:]),
])
def test_the_order_of_patches(patches, expected):
    editor = Editor(BASE)
    for patch in patches:
        editor.replace(*patch)
    assert editor.render() == expected


@pytest.mark.parametrize(("at", "cut"), [(27, 0), (0, 27), (26, 1), (20, 7), (4294967295, 4294967295), (1, 4294967295)])
def test_patches_outside_of_the_message(at, cut):
    editor = Editor(BASE)
    with pytest.raises(ValueError, match="outside the message"):
        editor.replace(at, cut, b"")
    assert editor.render() == BASE


def test_a_full_list_says_so():
    editor = Editor(BASE)
    for _ in range(600):
        editor.replace(0, 0, b"")
    with pytest.raises(ValueError, match="more than 600"):
        editor.replace(0, 0, b"")
