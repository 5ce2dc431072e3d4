"""The signature of what the edge sends to servers of the user's: HMAC-SHA256 (RFC 2104) over time and body.

The time is signed with the body, so that a receiver can refuse what was recorded and sent again.
"""
import hashlib
import hmac

TIMESTAMP = "X-Sipedge-Timestamp"
SIGNATURE = "X-Sipedge-Signature"


def signed(key: bytes, body: bytes, at: int) -> dict[str, str]:
    """The headers that sign a body; none where there is no key.

    at: seconds since 1970. The signature is `v1=` and the hexadecimal HMAC over `<at>.<body>`.
    """
    if not key:
        return {}
    digest = hmac.new(key, b"%d.%b" % (at, body), hashlib.sha256).hexdigest()
    return {TIMESTAMP: str(at), SIGNATURE: f"v1={digest}"}
