"""IP literals, prefixes and their trie against the standard library's reading."""
import ipaddress

from sipcore.base.address import canonical_ip
from sipcore.base.trie import Trie
from tests.fuzz import harness


def literal(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address; an IPv4-mapped one is IPv4. None where there is none, or one with a zone."""
    if text.startswith("[") and text.endswith("]") and ":" in text:
        text = text[1:-1]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if "%" in text:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def target(data: bytes) -> None:
    text, _, prefix = data.decode("utf-8", "replace").partition("\n")
    address = literal(text)
    try:
        found = canonical_ip(text)
    except ValueError:
        assert address is None
        return
    assert address is not None
    assert ipaddress.ip_address(found) == address
    assert canonical_ip(found) == found
    try:
        trie = Trie([(prefix, 7)])
    except ValueError:
        return
    network = ipaddress.ip_network(prefix)
    if network.version == address.version:
        assert (trie.lookup(text) == 7) == (address in network)


SEEDS = [b"192.0.2.10\n192.0.2.0/24", b"[2001:db8::1]\n2001:db8::/32", b"::ffff:192.0.2.10\n192.0.2.10", b"::1\n::/0",
         b"255.255.255.255\n0.0.0.0/0", b"1:2:3:4:5:6:7:8\n::/1"]

if __name__ == "__main__":
    harness.run(target, SEEDS)
