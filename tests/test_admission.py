"""The stack's access list finds what the policy's own lookup finds."""
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from proxy.admission import admission
from proxy.policy.acl import group_of, prefixes

from .policy.sample import policy
from .policy.test_acl import LISTS

CONFIG = policy(LISTS, base="").config
ADMISSION = admission(CONFIG)
NEAR = st.sampled_from([int(ip_address(text)) for text in ("10.1.2.3", "10.66.0.0", "10.67.255.255", "9.255.255.255")])


@given(st.integers(0, 1), NEAR | st.integers(0, 2**32 - 1), st.integers(-2, 2))
def test_ipv4(listener, number, step):
    address = str(ip_address(min(max(number + step, 0), 2**32 - 1)))
    assert ADMISSION.group(address, listener) == group_of(prefixes(CONFIG, listener), address)


@given(st.integers(0, 1), st.integers(0, 2**98 - 1))
def test_ipv6(listener, low):
    address = str(ip_address(0x20010DB8 << 96 | low if low < 2**96 else low))
    assert ADMISSION.group(address, listener) == group_of(prefixes(CONFIG, listener), address)


def test_groups_keep_their_order():
    assert ADMISSION.groups == len(CONFIG.groups)
