"""A page of counters that a worker writes and anybody who maps it may read without stopping the worker."""
import mmap
import os

from sipcore.stack.counters import COUNTERS

GAUGES = (
    "transactions", "dialogs", "calls_up", "buffer_bytes", "datagrams_out", "send_errors", "truncated", "kernel_drops",
    "network_errors", "journal_lost",
)
"""What the worker copies into the page once a second; COUNTERS are counted in it directly."""

PAGE_BYTES = 8 * (len(COUNTERS) + len(GAUGES))


class Page:
    """The counters, then the gauges, each an unsigned 64-bit number in the machine's byte order."""

    def __init__(self, descriptor: int = -1):
        """Map the page behind a descriptor, or make a new one."""
        if descriptor < 0:
            descriptor = os.memfd_create("sipedge-counters", os.MFD_CLOEXEC)
            os.ftruncate(descriptor, PAGE_BYTES)
        self.descriptor = descriptor
        self.map = mmap.mmap(descriptor, PAGE_BYTES)
        self._words = memoryview(self.map).cast("Q")

    def read(self) -> dict[str, int]:
        return dict(zip((*COUNTERS, *GAUGES), self._words, strict=True))

    def write_gauges(self, values: dict[str, int]) -> None:
        for position, name in enumerate(GAUGES, len(COUNTERS)):
            self._words[position] = values.get(name, 0)
