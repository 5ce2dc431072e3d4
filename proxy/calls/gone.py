"""The owner of legs that are over: hears what still comes, and keeps no call alive for it."""
from typing import Any


class Gone:
    """Whatever is said to it, nothing follows. A leg lives on for a while with the transactions that it began (for
    64*T1 another fork may answer, and a NOTIFY may come); its call, and what that was decided by, need not."""

    def on_progress(self, *said: Any) -> None: ...

    def on_answered(self, leg: Any, response: Any) -> None:
        leg.bye()

    on_failed = on_cancelled = on_established = on_progress
    on_reoffer_done = on_renewed = on_refer_progress = on_ended = on_progress

    def on_offer(self, leg: Any, exchange: Any) -> None:
        exchange.reject(481)

    def on_message(self, leg: Any, tx: Any) -> bool:
        return False

    def on_refer(self, leg: Any, referral: Any) -> None:
        referral.reject(481)


GONE = Gone()
