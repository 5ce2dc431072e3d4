"""A page of counters that a worker writes and anybody who maps it may read without stopping the worker."""
import mmap
import os

from sipcore.stack.counters import COUNTERS

GAUGES = (
    "transactions", "dialogs", "calls_up", "controlled_dialogs", "controlled_calls", "transfers_running",
    "records_waiting", "contexts", "webhook_waiting", "registrations", "registrations_up", "kept_alive",
    "buffer_bytes", "kernel_drops", "media_calls_up", "media_sessions", "media_offloaded", "media_ports_used",
    "media_ports_free", "dns_waiting", "dns_questions", "dns_names", "targets_up", "targets_degraded", "targets_down",
    "targets_draining", "overload_share", "lag_us", "bans", "connections", "connections_unlisted",
)
"""How it is now; the kernel's drops are counted by the sockets, which outlive a worker."""

COPIED = (
    "connections_accepted", "connections_opened", "connections_refused", "connections_given_up", "connections_failed",
    "handshakes_failed", "connections_idle", "connections_slow", "connections_stalled", "framing_faults",
    "stream_messages_in", "stream_messages_out", "stream_pings", "connections_reused", "stream_unsent", "stream_lost",
    "journal_dropped", "datagrams_out", "send_errors", "truncated", "network_errors", "log_lost", "size_over",
    "size_compact", "size_drop", "size_codecs", "size_tcp", "size_tcp_failed", "size_reference",
    "size_reference_failed", "size_refuse", "size_fragment", "size_sent_over",
    "media_calls", "media_offers", "media_answers", "media_refused", "media_offers_void", "media_no_ports",
    "media_full", "media_sessions_refused", "media_ports_exhausted", "media_ports_taken", "media_ports_failed",
    "ice_removed", "rtp_in", "rtp_bytes_in", "rtcp_in", "rtp_out", "rtp_bytes_out", "rtcp_out", "rtp_wrong_source",
    "rtp_early", "rtp_late", "rtp_unheard", "rtp_stun", "rtp_dtls", "rtp_zrtp", "rtp_other", "rtp_truncated",
    "rtp_giant", "rtp_send_failed", "rtp_unsendable", "rtp_kernel_drops", "srtp_unauthentic", "srtp_replayed",
    "srtp_retold",
    "media_events_lost", "media_commands_lost", "media_offloads",
    "transfers_completed", "transfers_failed", "transfers_cancelled", "transfers_unknown", "transfers_refused",
    "auth_challenged", "auth_passed", "auth_failed", "auth_stale", "auth_replayed", "auth_blocked", "auth_malformed",
    "challenges_answered", "challenges_refused",
    "registrations_registered", "registrations_failed", "registrations_expired", "registrations_removed",
    "services_late", "events_dropped", "records_lost", "contexts_redeemed", "contexts_refused", "contexts_lost",
    "dns_asked", "dns_cached", "dns_failed", "dns_stale", "dns_refused", "dns_late",
    "webhook_delivered", "webhook_given_up", "webhook_dropped", "audio_silent", "audio_heard_again",
    "probes_sent", "probes_failed", "probes_unsent", "target_changes", "calls_retries_refused", "overload_entered",
    "deferred", "deferred_dropped", "bans_earned", "gauges_renewed",
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
