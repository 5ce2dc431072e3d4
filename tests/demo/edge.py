"""An edge in the test's own process: the default configuration on a Proxy over a loopback socket."""
import asyncio
from importlib.resources import files
from pathlib import Path

from proxy.load import load
from proxy.policy.acl import prefixes
from proxy.policy.engine import Policy
from sipcore.base.trie import Trie
from sipcore.net.endpoint import Endpoint
from sipcore.net.udp import bind_udp
from sipcore.stack.admission import Admission
from sipcore.stack.forward import Proxy


def start_edge(port=0):
    """The edge's Endpoint, running on this loop, and its (host, port)."""
    sock = bind_udp("127.0.0.1", port)
    address = sock.getsockname()[:2]
    config = load(Path(str(files("proxy") / "default.toml")), listen=f"udp:127.0.0.1:{address[1]}")
    policy = Policy(config)
    admission = Admission([Trie([(str(prefix.network), prefix.group) for prefix in prefixes(config, 0)])])
    for group in config.groups:
        admission.add_group(group.action, group.methods)
    proxy = Proxy(admission=admission, decide=policy.decide, oversize=policy.oversize, transactions=1024,
                  dialogs=256, internal=config.internal.headers)
    proxy.add_listener(*address)
    endpoint = Endpoint(proxy, [sock])
    endpoint.start(asyncio.get_running_loop())
    return endpoint, address
