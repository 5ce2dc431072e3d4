"""Building a Proxy from a configuration, and giving a running one another."""
from collections import Counter

import pytest

from proxy import app
from proxy.config import decode
from proxy.policy.validate import problems_of

from .config.test_config import SIMPLE

SECRET = b"k" * 32


@pytest.fixture
def compiled(monkeypatch):
    """How often the policy and the access list were compiled."""
    counted: Counter[str] = Counter()

    def count(name):
        original = getattr(app, name)

        def counting(*arguments):
            counted[name] += 1
            return original(*arguments)

        monkeypatch.setattr(app, name, counting)

    count("Policy")
    count("admission")
    return counted


def test_a_configuration_is_compiled_once_at_the_start_and_once_for_each_change(compiled):
    config = decode(SIMPLE, problems_of, file="edge.toml")
    proxy = app.build_proxy(config, secret=SECRET)
    assert compiled == {"Policy": 1, "admission": 1}
    app.configure(proxy, config)
    assert compiled == {"Policy": 2, "admission": 2}
