"""Fixtures of the tests with a browser."""
import base64
import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Chromium
from tests.browser.web import Web
from tests.certificates import Authority
from tests.edge import ROOT, network, start_edge  # noqa: F401

PACKAGES = ROOT / ".venv" / "jssip" / "node_modules"


@pytest.fixture(scope="package")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """It has given a certificate for `edge`."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    authority.give("edge", "DNS:edge.example.com")
    return authority


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Chromium]:
    """One that trusts the edge's certificate."""
    key = subprocess.run(["openssl", "x509", "-in", authority.folder / "edge.pem", "-noout", "-pubkey"], check=True,
                         capture_output=True).stdout
    key = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], check=True, capture_output=True,
                         input=key).stdout
    digest = base64.b64encode(hashlib.sha256(key).digest()).decode()
    with Chromium(tmp_path_factory.mktemp("chromium"), (digest,)) as browser:
        yield browser


@pytest.fixture(scope="package")
def web() -> Iterator[Web]:
    """The pages, with JsSIP."""
    if not Path(PACKAGES).exists():
        pytest.skip("JsSIP is not there: `make .venv/.jssip` fetches it from the npm registry")
    with Web(PACKAGES) as web:
        yield web
