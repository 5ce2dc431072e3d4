"""Every error knows the SIP status that it maps to and whose fault it is."""
import pytest

from sipcore.base.errors import ConfigurationError, LimitExceeded, MalformedMessage, SipEdgeError


@pytest.mark.parametrize(
    ("error", "status", "fault"),
    [
        (SipEdgeError("x"), 500, "ours"),
        (ConfigurationError("x"), 500, "configuration"),
        (MalformedMessage("x"), 400, "peer"),
        (MalformedMessage("Message Too Large", status=513), 513, "peer"),
        (LimitExceeded("x"), 503, "ours"),
    ],
)
def test_status_and_fault(error: SipEdgeError, status: int, fault: str) -> None:
    assert isinstance(error, SipEdgeError)
    assert (error.status, error.fault) == (status, fault)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConfigurationError("no such group"), "no such group"),
        (ConfigurationError("no such group", path="access[2].group"), "access[2].group: no such group"),
        (
            ConfigurationError("bad value 'x'", path="mtu", line=7, expected="a number of bytes"),
            "line 7, mtu: bad value 'x'; expected a number of bytes",
        ),
        (ConfigurationError("not TOML", line=0), "line 0: not TOML"),
    ],
)
def test_a_configuration_error_says_where_and_what_was_expected(error: ConfigurationError, text: str) -> None:
    assert str(error) == text


def test_attributes_are_kept() -> None:
    error = ConfigurationError("x", path="a.b", line=3, expected="y")
    assert (error.path, error.line, error.expected) == ("a.b", 3, "y")
    full = LimitExceeded("too many calls", limit="max_transactions", retry_after=5)
    assert (str(full), full.limit, full.retry_after) == ("too many calls", "max_transactions", 5)
