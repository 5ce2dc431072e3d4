"""When the relay thread rests before it looks for packets again; times are microseconds."""
from sipcore.media.probe import Pacing


def looks(pacing: Pacing, start: int, seconds: float, interval: int, n: int = 1) -> list[bool]:
    """What n packets each `interval` us, for so long, are."""
    return [pacing.fast(now, n) for now in range(start, start + int(seconds * 1_000_000), interval)]


def test_slow_packets_never_wait() -> None:
    pacing = Pacing()
    assert not any(looks(pacing, 5_000_000, 1, 34))


def test_fast_ones_do_after_a_whole_window_has_shown_it() -> None:
    pacing = Pacing()
    found = looks(pacing, 5_000_000, 0.1, 20)
    assert not any(found[:500])
    assert all(found[1000:])
    assert all(looks(pacing, 5_100_000, 0.1, 1000, 50))


def test_the_first_packet_after_fast_ones_waits_for_nothing() -> None:
    pacing = Pacing()
    assert looks(pacing, 5_000_000, 0.1, 20)[-1]
    assert not pacing.fast(5_200_000, 1)
    assert looks(pacing, 6_000_000, 0.1, 20)[-1]
    assert pacing.fast(6_105_000, 1)
    # Fewer and fewer: the window that had few says so.
    assert not any(looks(pacing, 6_110_000, 0.1, 40)[500:])
