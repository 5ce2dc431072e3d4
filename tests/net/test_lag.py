"""How long packets wait for the worker: the kernel's time stamps, as overload control sees them."""
import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Iterator

import uvloop

from sipcore.base.trie import Trie
from sipcore.net.endpoint import Endpoint
from sipcore.net.udp import bind_udp
from sipcore.stack.admission import Admission
from sipcore.stack.proxy import Proxy
from sipcore.stack.verdict import Verdict

KEEPALIVE = b"\r\n\r\n"
SO_TIMESTAMPNS = 35


@contextlib.contextmanager
def _stamping() -> Iterator[None]:
    """The kernel notes when packets come; it begins so a while after the first socket asks for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind(("127.0.0.1", 0))
        waited, end = 0.0, time.monotonic() + 60
        while waited < 0.005 and time.monotonic() < end:
            sock.sendto(KEEPALIVE, sock.getsockname())
            time.sleep(0.01)    # what the stamp has to show
            _, [(_, _, stamp)], *_ = sock.recvmsg(64, 64)
            seconds, ns = struct.unpack("qq", stamp)
            waited = time.time() - seconds - ns * 1e-9
        assert waited >= 0.005
        yield


async def _until(condition) -> None:
    """Let the loop run until it holds, for a minute at most."""
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:  # noqa: ASYNC110 the stack gives no event for a keepalive
        await asyncio.sleep(0.002)
    assert condition()


def test_what_a_busy_loop_let_wait_is_seen_and_one_packet_is_no_overload():
    async def play() -> tuple[int, int]:
        admission = Admission([Trie([("127.0.0.0/8", 0)])])
        admission.add_group("allow", ("INVITE",))
        proxy = Proxy(admission=admission, decide=lambda _: Verdict(action=Verdict.DROP), transactions=1024, dialogs=64)
        sock = bind_udp("127.0.0.1", 0)
        address = sock.getsockname()
        proxy.add_listener(*address)
        endpoint = Endpoint(proxy, [sock])
        endpoint.start(asyncio.get_running_loop())
        with _stamping(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.sendto(KEEPALIVE, address)
            # The wait itself is what is measured: nothing else runs meanwhile.
            time.sleep(0.2)  # noqa: ASYNC251
            await _until(lambda: proxy.overload.worst >= 150_000)
        found = proxy.statistics()
        endpoint.close()
        return found["lag_us"], found["overload_share"]

    lag, share = uvloop.run(play())
    assert 150_000 <= lag < 60_000_000
    assert share == 0
