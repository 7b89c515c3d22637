"""Addresses of visitors, as bytes: half the clicks come from one that was not seen before."""

from __future__ import annotations

import socket

_IPV4_BYTES = 4
_MAPPED = bytes(10) + b"\xff\xff"  # IPv4 within IPv6, RFC 4291 section 2.5.5.2


def packed_address(text: str) -> bytes | None:
    """4 or 16 bytes in network order, IPv4 also where it comes mapped into IPv6."""
    try:
        if ":" not in text:
            return socket.inet_pton(socket.AF_INET, text)
        packed = socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
    except (OSError, ValueError):
        return None
    return packed[12:] if packed.startswith(_MAPPED) else packed


def block_of(packed: bytes) -> bytes:
    """The beginning that neighbours share: /24 of IPv4, /48 of IPv6."""
    return packed[:3] if len(packed) == _IPV4_BYTES else packed[:6]


def block_address(block: bytes) -> str:
    """The first address of a block, as text."""
    if len(block) < _IPV4_BYTES:
        return socket.inet_ntop(socket.AF_INET, block.ljust(4, b"\0"))
    return socket.inet_ntop(socket.AF_INET6, block.ljust(16, b"\0"))
