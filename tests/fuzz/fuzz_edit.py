"""Patch lists against a model that applies them to a list of bytes, last to first."""
from sipcore.wire.edit import Editor
from tests.fuzz import harness

BASE = bytes(range(32, 96))


def model(patches: list[tuple[int, int, bytes]]) -> bytes:
    """Sorted by offset, insertions before cuts; what begins inside an earlier cut is void."""
    out, cursor = b"", 0
    for at, cut, text in sorted(patches, key=lambda patch: (patch[0], patch[1] > 0)):
        if at >= cursor:
            out += BASE[cursor:at] + text
            cursor = at + cut
    return out + BASE[cursor:]


def target(data: bytes) -> None:
    """Three bytes a patch: offset, bytes cut, bytes put in their place."""
    editor = Editor(BASE)
    patches: list[tuple[int, int, bytes]] = []
    for i in range(0, len(data) - 2, 3):
        at, cut, text = data[i], data[i + 1] & 15, bytes([97 + i // 3 % 26]) * (data[i + 2] & 31)
        try:
            editor.replace(at, cut, text)
        except ValueError:
            assert at + cut > len(BASE) or len(patches) >= 600
            continue
        patches.append((at, cut, text))
        assert at + cut <= len(BASE)
    rendered = editor.render()
    assert editor.size == len(rendered)
    assert rendered == model(patches)


SEEDS = [b"", b"\0\0\1", bytes([10, 4, 2, 10, 0, 3, 12, 1, 1, 63, 1, 0, 64, 0, 5]), bytes([5, 0, 1]) * 601]

if __name__ == "__main__":
    harness.run(target, SEEDS)
