"""Whose address a request has, when anybody can write a header."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.core.client import client_address

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
ADDRESSES = st.ip_addresses().map(str)


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.7", "", "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("fd00::1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("", "198.51.100.1", "127.0.0.1"),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str, forwarded_for: str, address: str) -> None:
    assert client_address(peer, forwarded_for, TRUSTED) == address


@given(st.text())
def test_without_trusted_proxies_no_header_counts(forwarded_for: str) -> None:
    assert client_address("203.0.113.7", forwarded_for, []) == "203.0.113.7"


@given(st.text(), ADDRESSES)
def test_what_stands_left_of_the_first_untrusted_address_is_nothing(forged: str, peer: str) -> None:
    seen = client_address("10.0.0.1", f"{forged}, 198.51.100.1", TRUSTED)
    assert seen == "198.51.100.1"
