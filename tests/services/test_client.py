"""Whose certificate a client of ours takes."""
import asyncio
import shutil
import ssl
import subprocess

import pytest

from proxy.services import client
from proxy.services.client import Client, NoAnswer, ahead

from .server import answers, serving

pytestmark = [
    pytest.mark.usefixtures("uvloop_only"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]


@pytest.fixture
def tls(tmp_path):
    """A server's side of TLS for 127.0.0.1, and the file with its certificate."""
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    yield context, certificate
    client._trusted.cache_clear()


def posted(tls: ssl.SSLContext, host: str = "127.0.0.1") -> bytes:
    async def run():
        async with serving(answers(b"good"), tls) as server:
            one = Client()
            try:
                url = server.url.replace("127.0.0.1", host)
                return await one.post(url, b"", {}, deadline=60, limit=100)
            finally:
                await one.close()

    client._trusted.cache_clear()
    body: bytes = asyncio.run(run())
    return body


def test_a_certificate_that_the_system_does_not_trust_is_refused(tls):
    with pytest.raises(NoAnswer, match=r"^the server's certificate is not trusted$"):
        posted(tls[0])


def test_a_certificate_that_the_system_trusts_is_taken_for_its_own_name_only(tls, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
    assert posted(tls[0]) == b"good"
    with pytest.raises(NoAnswer, match=r"^the server's certificate is not trusted$"):
        posted(tls[0], "localhost")


@pytest.mark.parametrize(("deadline", "given_up"), [(10.0, 9.9), (1.0, 0.9), (0.1, 0.09), (0.0, 0.0)])
def test_what_is_taken_instead_has_time_to_arrive(deadline, given_up):
    assert ahead(deadline) == pytest.approx(given_up)
