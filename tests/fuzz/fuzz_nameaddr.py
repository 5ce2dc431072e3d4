"""From, To, Contact, Route and lists of them: split, parse, render, parse again."""
from sipcore.wire.fault import WireFault
from sipcore.wire.nameaddr import NameAddress, quote_display, split_values
from tests.fuzz import harness


def parse(value: bytes) -> NameAddress | None:
    try:
        return NameAddress(value)
    except WireFault as fault:
        assert fault.code < 0
        return None


def read(value: bytes) -> None:
    address = parse(value)
    if address is None:
        return
    rendered = address.render()
    again = NameAddress(rendered)
    assert again.render() == rendered
    assert (again.tag, again.params, again.uri) == (address.tag, address.params, address.uri)
    assert (again.display, again.star) == (address.display, address.star)
    assert all(address.param(name) == (text or "") for name, text in address.params.items())
    assert address.star or len(split_values(rendered)) == 1


def target(data: bytes) -> None:
    read(data)
    shown = quote_display(data.decode("utf-8", "replace"))
    assert NameAddress(shown.encode() + b" <sip:a@b>") is not None
    try:
        values = split_values(data)
    except WireFault:
        return
    for value in values:
        assert value
        assert value in data
        assert split_values(value) == [value]
        read(value)


SEEDS = [
    *harness.values(b"From", b"To", b"Contact", b"Route", b"Record-Route", b"Refer-To"),
    b'"J \\"R\\\\" <sip:a@b>\r\n  ;\r\n  tag = 98 ,*, token two <sip:c,d@e;lr?a=b>;q=1;x="y, z"',
    b"*", b"sip:a@b;tag=1",
]

if __name__ == "__main__":
    harness.run(target, SEEDS)
