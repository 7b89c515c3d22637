"""Which hosts lead into somebody's own network."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import ada_url
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.core.addresses import is_public, leads_inside
from api.core.errors import Invalid
from api.core.safe_url import TargetRules

INSIDE = """
    127.0.0.1 127.1 2130706433 0x7f000001 0x7f.1 0177.0.0.1 017700000001 127.0.0.1. 0 0.0.0.0
    10.0.0.1 10.1 172.16.0.1 172.31.255.255 192.168.1.1 3232235777 169.254.169.254 0xa9fea9fe
    0251.0376.0251.0376 100.64.0.1 192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1
    224.0.0.1 239.1.2.3 240.0.0.1 255.255.255.255
    [::1] [::] [fc00::1] [fd00:ec2::254] [fe80::1] [fec0::1] [ff02::1] [2001:db8::1] [100::1]
    [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:a9fe:a9fe] [::127.0.0.1] [::ffff:0:10.0.0.1]
    [64:ff9b::10.0.0.1] [64:ff9b::a9fe:a9fe] [64:ff9b:1::8.8.8.8] [2002:7f00:1::1]
    [2002:a9fe:a9fe::] [2001:0:4136:e378:8000:63bf:3fff:fdd2] [2001:4860::5efe:10.0.0.1]
    [2001:4860::200:5efe:127.0.0.1] [3fff::1] [5f00::1] [4000::1]
    localhost LOCALHOST localhost. a.localhost foo.bar.localhost localhost.localdomain
    metadata.google.internal db.internal printer.local router.lan wiki x.home.arpa home.arpa
    server.corp nas.home a.intranet
""".split()
OUTSIDE = """
    example.com example.com. xn--mnchen-3ya.example localhost.example internal.example
    a.internal.example 8.8.8.8 134744072 0x08080808 172.32.0.1 100.128.0.1 169.253.1.1 192.169.0.1
    [2001:4860:4860::8888] [::ffff:8.8.8.8] [64:ff9b::8.8.8.8] [2002:808:808::1] [2606:4700::1111]
    home.example.arpa 127.0.0.1.example
""".split()


@pytest.mark.parametrize("host", INSIDE)
def test_own_machine_and_network_are_told(host: str) -> None:
    assert leads_inside(host)
    # As it comes out of the parser, too.
    assert leads_inside(ada_url.URL(f"http://{host}/").hostname)


@pytest.mark.parametrize("host", OUTSIDE)
def test_public_internet_is_told(host: str) -> None:
    assert not leads_inside(host)


@given(st.ip_addresses(v=4))
def test_every_spelling_of_an_address_is_judged_alike(address: object) -> None:
    number = int(address)  # type: ignore[call-overload]
    outside = is_public(ip_address(number))
    octets = str(address).split(".")
    spellings = [
        str(address),
        str(number),
        hex(number),
        f"0{number:o}",
        ".".join(f"0{int(octet):o}" for octet in octets),
        ".".join(hex(int(octet)) for octet in octets),
        f"{octets[0]}.{number & 0xFFFFFF}",
        f"[::ffff:{address}]",
        f"[64:ff9b::{address}]",
        f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::1]",
        f"[::{address}]",
    ]
    for spelling in spellings:
        assert leads_inside(spelling) != outside, spelling
        if not spelling.startswith("["):
            assert socket.inet_ntoa(socket.inet_aton(spelling)) == str(address)


@given(st.ip_addresses(v=6, network="fc00::/6"))
def test_no_address_of_ones_own_networks_is_public(address: object) -> None:
    assert leads_inside(f"[{address}]")


def test_rules_refuse_them_only_where_that_is_asked() -> None:
    def rules(*, allow_private: bool) -> TargetRules:
        schemes = ("http", "https", "ssh", "mailto")
        public = "https://sign.test"
        return TargetRules(schemes, public, lambda host: False, allow_private=allow_private)

    strict, lax = rules(allow_private=False), rules(allow_private=True)
    for host in INSIDE:
        for scheme in ("http", "https"):
            with pytest.raises(Invalid) as refused:
                strict.normalise(f"{scheme}://user@{host}:8080/x")
            assert refused.value.extra["errors"][0]["pointer"] == "/url"
            lax.normalise(f"{scheme}://user@{host}:8080/x")
    # The standard leaves the numbers in hosts of other schemes as they are.
    for url in ("ssh://2130706433/", "ssh://root@0x7f.1/", "ssh://LOCALHOST/"):
        with pytest.raises(Invalid):
            strict.normalise(url)
    for url in ("https://example.com/", "mailto:somebody@localhost", "http://8.8.8.8/"):
        strict.normalise(url)
