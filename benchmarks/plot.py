"""The end-to-end runs as pictures.

Signalling: calls/s, CPU per 10,000 calls, and latency percentiles, for each proxy. Audio: latency percentiles by
load, CPU per million packets, and the most packets/s.
"""
from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from benchmarks import end_to_end_media
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


def draw_media(samples: list[end_to_end_media.Sample], most: list[float], path: Path) -> None:
    """Write a PNG with medians; most: what the rounds found, nothing where it was not looked for."""
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    latency, cost, rate = figure.subplots(1, 3)
    shares = ("p50", "p90", "p99", "p999")
    columns = list(dict.fromkeys((sample.subject, sample.phase) for sample in samples))
    for subject, phase in columns:
        of = [sample for sample in samples if (sample.subject, sample.phase) == (subject, phase)]
        times = [median(getattr(sample.latency, share) for sample in of) for share in shares]
        name = f"{subject}, {phase.partition(', ')[2]}"
        latency.plot(range(len(shares)), times, marker="o", label=name, linestyle=":" if subject == "direct" else "-")
        if subject != "direct":
            bar = cost.bar([name.replace(", ", "\n")], [median(sample.cpu for sample in of)], width=0.6)
            cost.bar_label(bar, fmt="{:.2f}")
    latency.set(title="sent to received, us", yscale="log", xticks=range(len(shares)))
    latency.set_xticklabels(["p50", "p90", "p99", "p99.9"])
    latency.grid(alpha=0.3)
    latency.legend(fontsize=7)
    cost.set(title="CPU seconds per million packets")
    cost.tick_params(labelsize=7)
    rate.set(title="most packets/s, p99 under 20 ms", xticks=[], xlim=(-1, 1))
    if most:
        rate.bar_label(rate.bar([0], [median(most)], width=0.4), fmt="{:,.0f}")
    figure.savefig(path, dpi=120)
