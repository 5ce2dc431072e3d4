"""The E-model at points that are known, and its direction everywhere else."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.media.emodel import CODECS, mos, opinion, rating


def test_defaults_give_the_rating_that_the_recommendation_names():
    assert rating(0) == pytest.approx(93.2, abs=0.05)


@pytest.mark.parametrize(("r", "score"), [
    (-5, 1), (0, 1), (50, 2.58), (60, 3.10), (70, 3.60), (80, 4.03), (90, 4.34), (100, 4.5),
])
def test_ratings_become_scores_as_in_annex_b(r, score):
    assert opinion(r) == pytest.approx(score, abs=0.01)


@pytest.mark.parametrize(("delay", "r"), [(50, 91.8), (100, 90.7), (150, 89.5), (200, 85.8), (300, 72.7), (400, 62.2)])
def test_delay(delay, r):
    """Worked out by hand from equations 7-18 to 7-28; near the well-known 0.024 d + 0.11 (d - 177.3) of delay alone."""
    assert rating(0, delay_ms=delay) == pytest.approx(r, abs=0.1)
    assert rating(0, delay_ms=delay) == pytest.approx(93.2 - 0.024 * delay - 0.11 * max(0, delay - 177.3), abs=5)


def test_codecs_and_loss():
    assert rating(0) - rating(0, codec="G729") == pytest.approx(11)
    # Random loss of Bpl percent takes half of what is left (G.107 7-29).
    assert rating(0) - rating(0.251, codec="PCMA") == pytest.approx(95 / 2)
    assert rating(0.19, codec="G729") == pytest.approx(93.2 - 11 - 84 / 2, abs=0.05)
    assert mos(0, codec="pcmu") == mos(0, codec="opus") == pytest.approx(4.4, abs=0.01)
    assert mos(0.05) == pytest.approx(3.9, abs=0.05)


@pytest.mark.parametrize(("codec", "values"), [
    ("PCMA", [(0, 0), (1, 5), (2, 7), (3, 10), (5, 15), (7, 20), (10, 25), (15, 35), (20, 45)]),
    ("G729", [(0, 11), (0.5, 13), (1, 15), (1.5, 17), (2, 19), (3, 23), (4, 26), (8, 36), (16, 49)]),
    ("G723", [(0, 15), (0.5, 17), (1, 19), (1.5, 22), (2, 24), (3, 27), (4, 32), (8, 41), (16, 55)]),
    ("GSM-EFR", [(0, 5), (1, 16), (2, 21), (3, 26), (5, 33)]),
])
def test_codecs_lose_what_the_tables_of_g_113_say(codec, values):
    """The Ie by percent of random loss, with loss concealed, that Ie and Bpl were fitted to: the provisional planning
    values of ITU-T G.113 Appendix I (1999)."""
    for percent, impairment in values:
        lost = rating(0) - rating(percent / 100, codec=codec)
        assert lost == pytest.approx(impairment, abs=3.1), percent


fractions, delays = st.floats(0, 1), st.floats(0, 2000)


@given(fractions, fractions, st.floats(1, 20), delays, delays, st.sampled_from(sorted(CODECS)))
def test_worse_networks_never_sound_better(a, b, burst, delay, jitter, codec):
    low, high = sorted((a, b))
    assert 1 <= mos(high, burst, jitter, delay, codec) <= mos(low, burst, jitter, delay, codec) <= 4.42
    assert mos(low, burst, jitter, delay, codec) <= mos(low, 1, 0, delay / 2, codec) + 1e-9


@pytest.mark.parametrize("arguments", [
    {"loss": -0.1}, {"loss": 1.1}, {"loss": float("nan")}, {"loss": 0, "burst": 0}, {"loss": 0, "jitter_ms": -1},
    {"loss": 0, "one_way_delay_ms": -1}, {"loss": 0, "one_way_delay_ms": float("nan")},
])
def test_figures_that_cannot_be_are_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        mos(**arguments)
