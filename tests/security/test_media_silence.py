"""Media ports come back where nobody says that a call is over: nobody answers it, or both ends are lost.

The edge gives up a call without audio after 3 s, and one that nobody answers after 3.2 s (64 times T1).
"""
from collections.abc import Iterator

import pytest

from tests.edge import EdgeProcess
from tests.security.audio import AudioCall, await_whole_pool, configuration
from tests.security.namespace import Namespace


@pytest.fixture(scope="module")
def edge(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    text = configuration('silence_seconds = 0\ntimeout_seconds = 3\non_timeout = "end"\n')
    for line in ("t1 = 0.1\n", "t2 = 0.4\n"):
        assert line in text
    text = text.replace("t1 = 0.1\n", "t1 = 0.05\n").replace("t2 = 0.4\n", "t2 = 0.2\n")
    with namespace.entered():
        running = EdgeProcess(tmp_path_factory.mktemp("edge"), text)
    with running:
        yield running
        await_whole_pool(namespace, running)


def test_nobody_answers_the_offer(studio):
    call = AudioCall(studio)
    assert len(studio.media_sockets()) == 4
    studio.peer.expect(b"SIP/2.0 408", call.call_id.encode())
    studio.await_closed_ports()


def test_a_far_end_that_is_lost(studio):
    """Both ends crash: no BYE ever comes, the audio stops, and the edge ends its part."""
    call = AudioCall(studio).answer()
    call.talk()
    line = studio.edge.wait_call_line(event="call", call_id=call.call_id)
    assert line["ended"] == "media"
    studio.await_closed_ports()
