"""The size that the policy reckons with is that of the bytes that leave (transfers.md section 4)."""
from .sample import header_set
from .test_wire import ROUTE, Edge


def test_each_target_is_judged_by_its_own_size():
    two = ('[[upstream]]\nname = "agents"\ntry_timeout = 1\nsize_policy = ["compact", "drop", "refuse"]\nmtu = %d\n'
           'targets = [{address = "127.0.0.3:5060"}, {address = "127.0.0.100:50600", priority = 1}]\n')
    text = header_set('name = "X-Small", value = "s"') + ROUTE + 'headers = ["set"]\n'
    size = len(Edge(two % 4000 + text).invite(("Content-Type", "a/b")).data)
    edge = Edge(two % (size + 200) + text)
    other = edge.phone("bot", "127.0.0.100", 50600)
    first = edge.invite(("Content-Type", "a/b"))
    assert (len(first.data), edge.count("oversize")) == (size, 0)
    edge.agent.answer(first, 503)
    edge.run()
    second = other.take("INVITE")
    assert len(second.data) <= size
    (note,) = edge.proxy.take_troubles()
    assert note.startswith(f"size {size + 3:,} of {size:,} bytes (agents): compact header names; now ")
    assert note.endswith(f"; now {len(second.data):,}")
    assert second.header("X-Small") == "s"
