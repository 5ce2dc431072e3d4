"""An edge in the test's own process: the default configuration on a Proxy over a loopback socket."""
import asyncio
import os
from importlib.resources import files

from proxy.admission import admission
from proxy.audio import Audio
from proxy.load import load
from proxy.policy.engine import Policy
from sipcore.net.endpoint import Endpoint
from sipcore.net.udp import bind_udp
from sipcore.stack.proxy import Proxy

NETWORK = f"127.{64 + os.getpid() % 128}.{os.getpid() // 128 % 256}"
"""Loopback addresses of this process alone, so that runs side by side do not meet."""


class Edge:
    """Made within a running loop. change: what a test makes of each verdict that forwards, where it wants an edge with
    a fault. edit: what it makes of the configuration's text."""

    def __init__(self, folder, change=None, edit=str):
        sock = bind_udp(f"{NETWORK}.1", 0)
        self.address = sock.getsockname()[:2]
        file = folder / "edge.toml"
        file.write_text(edit((files("proxy") / "default.toml").read_text().replace("127.0.0.", f"{NETWORK}.")))
        config = load(file, listen=f"udp:{self.address[0]}:{self.address[1]}")
        policy = Policy(config)

        def decide(request):
            verdict = policy.decide(request)
            return change(verdict) if change and verdict.action == verdict.FORWARD else verdict

        self.audio = Audio(config)
        self.proxy = Proxy(admission=admission(config), decide=decide, oversize=policy.oversize, transactions=1024,
                           dialogs=256, internal=() if change else config.internal.headers, media=self.audio.anchor)
        self.proxy.overload.limit_to(0, 900, 10)  # lag of a busy machine refuses nothing
        self.proxy.add_listener(*self.address)
        self.endpoint = Endpoint(self.proxy, [sock])
        self.endpoint.start(asyncio.get_running_loop())
        asyncio.get_running_loop().add_reader(self.audio.relay.fileno(), lambda: list(self.audio.take_events()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        asyncio.get_running_loop().remove_reader(self.audio.relay.fileno())
        self.endpoint.close()
        self.audio.stop()
        # One of the demo's transfers is refused.
        assert [text for text in self.proxy.take_troubles() if not text.startswith("REFER refused with 603: ")] == []
