"""The names of the counters, as `sipedge stats` shows them."""

COUNTERS = (
    "datagrams_in", "requests_in", "responses_in", "keepalives", "malformed_requests", "malformed_responses",
    "unlisted_dropped", "unlisted_passed", "denied", "forbidden", "rate_limited", "method_closed",
    "stray_responses", "stray_acks", "stray_cancels", "forged_tokens", "retransmissions_in",
    "retransmissions_out", "forwarded", "forwarded_responses", "answered", "decided", "decided_by_memo",
    "decide_errors", "loops", "too_many_hops", "timeouts", "transport_errors", "failovers", "late_answers",
    "cancelled", "transactions_full", "records_full", "buffers_full", "outbox_full", "oversize",
    "oversize_refused", "fragmented", "unroutable", "calls", "calls_answered", "calls_ended", "calls_failed",
    "calls_expired", "calls_refused", "refers", "refers_accepted", "refers_refused", "refers_completed",
    "refers_failed", "refers_unknown", "media_forgotten", "retries_refused", "overload_refused", "scanners", "banned",
    "stun_answered", "stun_malformed",
)
if len(COUNTERS) != C_COUNT:
    raise AssertionError("counters.pyx and counters.pxd list different counters")
