"""The one tree of errors: each one knows the SIP status that it maps to and whose fault it is.

Below the GIL errors are small integer codes; whoever brings one up to Python raises one of these.
"""
from typing import Literal

Fault = Literal["ours", "peer", "configuration"]


class SipEdgeError(Exception):
    """Anything that the edge raises on purpose.

    status: the SIP status that a request failing for this reason is answered with (RFC 3261 21).
    fault: who has to change something: we, the peer that sent it, or whoever wrote the configuration.
    """

    status: int = 500
    fault: Fault = "ours"


class ConfigurationError(SipEdgeError):
    """The configuration cannot be used.

    path: where in the configuration, such as "upstreams.pbx.targets[0]"; line: line of the file, from 1, None where
    it is not known; expected: what would have been right. All three are part of the text.
    """

    fault: Fault = "configuration"

    def __init__(self, message: str, *, path: str = "", line: int | None = None, expected: str = "") -> None:
        where = ", ".join(part for part in (f"line {line}" if line is not None else "", path) if part)
        text = f"{where}: {message}" if where else message
        super().__init__(f"{text}; expected {expected}" if expected else text)
        self.path = path
        self.line = line
        self.expected = expected


class MalformedMessage(SipEdgeError):
    """A peer sent what RFC 3261 does not allow; the text becomes the reason phrase and holds no byte of the message.

    status: 400, or what the RFC has for that mistake (413, 414, 416, 420, 505, 513).
    """

    fault: Fault = "peer"

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class LimitExceeded(SipEdgeError):
    """A configured bound (transactions, memory, rate, calls) is used up.

    limit: the bound's name in the configuration. retry_after: seconds for the Retry-After header, None for none.
    """

    status = 503

    def __init__(self, message: str, *, limit: str = "", retry_after: int | None = None) -> None:
        super().__init__(message)
        self.limit = limit
        self.retry_after = retry_after
