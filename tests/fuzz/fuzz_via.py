"""Via: split, parse, render, parse again; extents point at what they name."""
from sipcore.wire.fault import WireFault
from sipcore.wire.via import ViaValue, split_via
from tests.fuzz import harness


def read(value: bytes) -> None:
    try:
        via = ViaValue(value)
    except WireFault as fault:
        assert fault.code < 0
        return
    again = ViaValue(via.render())
    assert again.render() == via.render()
    assert again.params == via.params
    assert (again.transport, again.host, again.port, again.branch) == (via.transport, via.host, via.port, via.branch)
    assert (again.rport, again.ttl, again.received, again.maddr) == (via.rport, via.ttl, via.received, via.maddr)
    assert via.host
    assert 0 <= via.port <= 65535
    assert via.rport is None or 0 <= via.rport <= 65535
    assert via.cookie == (via.branch.startswith("z9hG4bK") and len(via.branch) > 7)
    for extent, name in ((via.rport_extent, b"rport"), (via.received_extent, b"received")):
        if extent is not None:
            assert value[extent[0]:extent[1]].lstrip(b"; \t\r\n").lower().startswith(name)


def target(data: bytes) -> None:
    read(data)
    try:
        values = split_via(data)
    except WireFault:
        return
    assert values
    for value in values:
        assert value in data
        assert split_via(value) == [value]
        read(value)


SEEDS = [
    *harness.values(b"Via"),
    b"SIP  / 2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw, SIP/2.0/TCP  spindle.example.com : 5 ;\r\n branch = z9hG",
    b"SIP/2.0/UDP [2001:db8::9:1]:6050;rport;received=192.0.2.1;branch=z9hG4bKas3-111;ttl=1;maddr=[::1];x=\"y\"",
]

if __name__ == "__main__":
    harness.run(target, SEEDS)
