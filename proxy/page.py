"""A page of counters that a worker writes and anybody who maps it may read without stopping the worker."""
import mmap
import os

from sipcore.stack.counters import COUNTERS

GAUGES = ("transactions", "dialogs", "calls_up", "buffer_bytes", "kernel_drops", "media_calls_up", "media_sessions",
          "media_ports_used", "media_ports_free")
"""How it is now; the kernel's drops are counted by the sockets, which outlive a worker."""

COPIED = (
    "journal_dropped", "datagrams_out", "send_errors", "truncated", "network_errors", "log_lost", "size_over",
    "size_compact", "size_drop", "size_codecs", "size_refuse", "size_fragment", "size_sent_over",
    "media_calls", "media_offers", "media_answers", "media_refused", "media_offers_void", "media_no_ports",
    "media_full", "media_sessions_refused", "media_ports_exhausted", "media_ports_taken", "media_ports_failed",
    "ice_removed", "rtp_in", "rtp_bytes_in", "rtcp_in", "rtp_out", "rtp_bytes_out", "rtcp_out", "rtp_wrong_source",
    "rtp_early", "rtp_unheard", "rtp_stun", "rtp_dtls", "rtp_zrtp", "rtp_other", "rtp_truncated", "rtp_giant",
    "rtp_send_failed", "rtp_unsendable", "rtp_kernel_drops", "media_events_lost", "media_commands_lost",
)
"""Counters that the worker copies into the page once a second; the other COUNTERS are counted in it directly."""

NAMES = tuple(dict.fromkeys((*COUNTERS, *COPIED, *GAUGES)))
PAGE_BYTES = 8 * len(NAMES)


class Page:
    """The values of NAMES, each an unsigned 64-bit number in the machine's byte order."""

    def __init__(self, descriptor: int = -1):
        """Map the page behind a descriptor, or make a new one."""
        if descriptor < 0:
            descriptor = os.memfd_create("sipedge-counters", os.MFD_CLOEXEC)
            os.ftruncate(descriptor, PAGE_BYTES)
        self.descriptor = descriptor
        self.map = mmap.mmap(descriptor, PAGE_BYTES)
        self._words = memoryview(self.map).cast("Q")
        # A worker's own counts begin at nothing; those of the workers before it in this page stay.
        self._copied = [(name, NAMES.index(name), self._words[NAMES.index(name)]) for name in COPIED]

    def read(self) -> dict[str, int]:
        return dict(zip(NAMES, self._words, strict=True))

    def write(self, values: dict[str, int]) -> None:
        """Take over the worker's gauges and what it counted since it began."""
        for name, position, before in self._copied:
            self._words[position] = before + values.get(name, 0)
        for position, name in enumerate(GAUGES, len(NAMES) - len(GAUGES)):
            self._words[position] = values.get(name, 0)
