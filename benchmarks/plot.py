"""The end-to-end run as a picture: calls/s, CPU per 10,000 calls, and latency percentiles, for each proxy."""
from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from benchmarks.end_to_end import Sample


def draw(samples: list[Sample], phases: list[str], subjects: list[str], path: Path) -> None:
    """Write a PNG with medians; the phases in their order, the last being saturation and the first latency."""
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    rate, cost, latency = figure.subplots(1, 3)
    width = 0.8 / len(subjects)
    shares = ("p50", "p90", "p99", "p999")
    for number, subject in enumerate(subjects):
        of = {phase: [s for s in samples if s.subject == subject and s.phase == phase] for phase in phases}
        shift = (number - (len(subjects) - 1) / 2) * width
        saturated = median(s.calls_per_second for s in of[phases[-1]])
        rate.bar_label(rate.bar([number], [saturated], width=0.6), fmt="{:,.0f}")
        bars = [median(s.cpu for s in of[phase]) for phase in phases]
        drawn = cost.bar([place + shift for place in range(len(phases))], bars, width=width, label=subject)
        cost.bar_label(drawn, fmt="{:.2f}", fontsize=7)
        times = [median(getattr(s.ringing, share) for s in of[phases[0]]) for share in shares]
        latency.plot(range(len(shares)), times, marker="o", label=subject)
    rate.set(title="calls/s at saturation", xticks=range(len(subjects)), xticklabels=subjects)
    cost.set(title="CPU seconds per 10,000 calls", xticks=range(len(phases)))
    cost.set_xticklabels([phase.replace(", ", "\n") for phase in phases], fontsize=7)
    cost.legend()
    latency.set(title=f"INVITE to 180, us ({phases[0].partition(', ')[2]})", yscale="log", xticks=range(len(shares)))
    latency.set_xticklabels(["p50", "p90", "p99", "p99.9"])
    latency.grid(alpha=0.3)
    latency.legend()
    figure.savefig(path, dpi=120)
