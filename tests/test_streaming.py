"""What a configuration says of certificates and streams, and what the files say."""
from datetime import UTC, datetime, timedelta

import pytest

from proxy import load, streaming
from proxy.config import ConfigError
from tests.certificates import Authority

TEXT = """
[[listener]]
name = "tls"
bind = "tls:127.0.0.1:5061"
tls = ["edge"]
[[tls]]
name = "edge"
certificate = "edge.pem"
key = "{key}"
ca = "{ca}"
client_certificate = "{asked}"
[[group]]
name = "phones"
{group}
[[upstream]]
name = "pbx"
targets = [{{ address = "127.0.0.1", transport = "tls" }}]
[[route]]
to = "pbx"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("edge"))
    authority.give("edge", "DNS:edge.example.com")
    authority.give("other", "DNS:other.example.com")
    return authority.folder


def read(folder, *, key="edge.key", ca="ca.pem", asked="optional", group='certificates = ["Phone.example.com"]'):
    return load.check(TEXT.format(key=key, ca=ca, asked=asked, group=group), folder / "edge.toml")


def test_a_good_one(folder):
    config = read(folder)
    assert streaming.transports(config) == ["tls"]
    pair, = streaming.contexts(config)
    assert pair is not None
    server, client = pair
    assert (server.server, server.asks, server.names, client.server) == (True, True, ("edge.example.com",), False)


@pytest.mark.parametrize(("options", "text"), [
    ({"key": "missing.key"}, "tls[0].key: cannot read missing.key: No such file or directory"),
    ({"ca": "missing.pem"}, "tls[0].ca: cannot read missing.pem: No such file or directory"),
    ({"key": "other.key"}, "tls[0].key: .*no private key without a password that fits .*edge.pem"),
    ({"ca": "ca.key"}, "tls[0].ca: .*ca.key: no certificates of authorities"),
    ({"ca": ""}, "tls[0].ca: is empty; expected the authorities of client certificates"),
    ({"asked": "none"}, "group[0].certificates: no listener asks for client certificates"),
    ({"group": ""}, "group[0].addresses: is empty; expected addresses or certificates"),
    ({"group": 'certificates = ["*.example.com"]'}, 'expected a name such as "pbx.example.com"'),
])
def test_what_is_wrong_is_named(folder, options, text):
    with pytest.raises(ConfigError) as raised:
        read(folder, **options)
    found = str(raised.value)
    for part in text.split(".*"):
        assert part in found


def test_dates_are_told(folder):
    config = read(folder)
    now = datetime.now(UTC)
    assert streaming.remarks(config, now + timedelta(days=1)) == []
    assert "ends on" in streaming.remarks(config, now + timedelta(days=20))[0]
    assert "has ended on" in streaming.remarks(config, now + timedelta(days=31))[0]
    assert "is valid from" in streaming.remarks(config, now - timedelta(days=2))[0]
