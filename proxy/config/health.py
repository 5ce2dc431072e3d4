"""How it is judged whether a target can take calls."""
import re
from typing import Annotated

from msgspec import Meta

from .table import Count, Rate, Seconds, Table, doc

Tries = Annotated[int, Meta(ge=1, le=1000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Statuses = tuple[Annotated[str, Meta(pattern=r"^[1-6][0-9]{2}(-[1-6][0-9]{2})?$")], ...]
"""SIP statuses and ranges of them: `200`, `100-499`."""

_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")


def statuses(texts: Statuses) -> frozenset[int]:
    """All statuses that the texts name."""
    found: set[int] = set()
    for text in texts:
        match = _RANGE.fullmatch(text)
        assert match is not None
        found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(found)


class Health(Table, frozen=True, kw_only=True):
    """What makes a target of an upstream degraded or down, and up again. What real requests meet counts always: no
    answer within the try timeout, 503, an address that cannot be reached. An address in several upstreams follows the
    first of them."""

    probe_interval: Annotated[Seconds, doc(
        "An OPTIONS is sent to each target every so many seconds, a tenth more or less; 0 sends none.")] = 0.0
    probe_timeout: Annotated[float, Meta(gt=0, le=32), doc(
        "A probe without a final answer for this long has failed, in seconds.")] = 2.0
    alive: Annotated[Statuses, Meta(min_length=1), doc(
        "Statuses that say that a target is alive: a probe answered with another one has failed. With 503 among them, "
        "a 503 to a real request does not count against the target either.")] = ("100-499", "501", "505", "600-699")
    degraded_after: Annotated[Tries, doc("So many failures in a row make a target degraded.")] = 2
    degraded_share: Annotated[Share, doc(
        "So does this share of its calls failing within ten seconds, five at least; 0 never does.")] = 0.3
    degraded_weight: Annotated[Share, doc("What a degraded target keeps of its weight.")] = 0.5
    down_after: Annotated[Tries, doc("So many failures in a row make it down.")] = 4
    up_after: Annotated[Tries, doc(
        "So many answers in a row bring it back: one that was down at once, a degraded one after ten seconds without a "
        "failure.")] = 2
    retry_after: Annotated[float, Meta(ge=0.1, le=3600), doc(
        "Where no probes are sent, a target that is down is tried again after so many seconds, as a degraded "
        "one.")] = 15.0
    longest_pause: Annotated[Seconds, doc(
        "A target that answers 503 with Retry-After gets nothing for so long as it says, but for this many seconds at "
        "most, also where no other one is left (RFC 3261 21.5.4); then it is tried again, as a degraded one. 0 takes "
        "it as any other 503.")] = 30.0
    slow_start: Annotated[Seconds, doc(
        "The weight of a target that comes back grows to its full size within so many seconds; 0 gives it at "
        "once.")] = 20.0
    all_down: Annotated[bool, doc(
        "Where every target is down, try them nevertheless, in their usual order. Otherwise calls are answered "
        "503.")] = True
    retry_share: Annotated[Share, doc(
        "Calls that may go on to a further target, as a share of all calls to the upstream: failover never "
        "multiplies the calls of an upstream that fails as a whole. 1 is no limit.")] = 0.2
    retry_rate: Annotated[Rate, doc("So many of them a second are allowed whatever the share.")] = 10
    retry_burst: Annotated[Count, doc("So many at once are allowed, where few were needed before.")] = 100
