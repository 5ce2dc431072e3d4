"""Why a leg's media cannot be what a description asks for."""
from sipcore.base.errors import Fault, SipEdgeError

PHRASES = {488: "Not Acceptable Here", 491: "Request Pending", 500: "Server Internal Error", 503: "Service Unavailable"}


class MediaError(SipEdgeError):
    """A description that cannot be used, or media that cannot be had.

    warning: a code of RFC 3261 20.43 and a text of ours, "304 no media of a kind that passes here". status, reason and
    headers are those of the answer to the request that failed for it. 5xx are ours, the others the peer's.
    """

    def __init__(self, status: int, warning: str) -> None:
        super().__init__(f"{status} {warning[4:]}")
        self.status = status
        self.warning = warning
        self.fault: Fault = "ours" if status >= 500 else "peer"

    @property
    def reason(self) -> str:
        return PHRASES[self.status]

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Warning, and Retry-After where trying again later may help."""
        text = self.warning[4:].replace("\\", "/").replace('"', "'")
        warning = ("Warning", f'{self.warning[:3]} sipedge "{text}"')
        return (warning, ("Retry-After", "10")) if self.status == 503 else (warning,)
