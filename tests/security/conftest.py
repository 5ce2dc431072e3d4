"""The stage of the attacks: an edge in a network namespace of its own, and sockets of all the parties in it."""
import os
import shutil
from collections.abc import Iterator

import pytest

from tests.edge import EdgeProcess
from tests.security.audio import Studio
from tests.security.namespace import Namespace
from tests.security.range import CONFIGURATION, USERS, Range


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    """Loopback with 192.0.2.0/24, some of 2001:db8::/64 (the parties), and 198.18.0.0/15 (strangers) on it."""
    if os.geteuid() != 0:
        pytest.skip("raw packets and network namespaces need root")
    if shutil.which("ip") is None:
        pytest.skip("no command ip (Debian package iproute2)")
    try:
        made = Namespace("192.0.2.0/24", "198.18.0.0/15", *(f"2001:db8::{host}/128" for host in ("1", "20", "66")))
    except OSError as error:
        pytest.skip(f"no network namespace can be made: {error}")
    yield made
    made.close()


@pytest.fixture(scope="module", autouse=True)
def users() -> Iterator[None]:
    """The environment that every edge of these tests inherits, and the check of its configuration with it."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RANGE_USERS", USERS)
        yield


@pytest.fixture(scope="module")
def edge(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    with namespace.entered():
        running = EdgeProcess(tmp_path_factory.mktemp("edge"), CONFIGURATION)
    with running:
        yield running


@pytest.fixture
def ground(namespace: Namespace, edge: EdgeProcess) -> Iterator[Range]:
    """A stage for one attack; at its end the edge must be what it was."""
    built = Range(namespace, edge)
    try:
        yield built
        built.assert_unharmed()
    finally:
        built.close()


@pytest.fixture
def studio(namespace: Namespace, edge: EdgeProcess) -> Iterator[Studio]:
    """The same with voices; a pair of ports that did not come back would be missing to a test that takes them all."""
    built = Studio(namespace, edge)
    try:
        yield built
        built.assert_unharmed()
    finally:
        built.close()
