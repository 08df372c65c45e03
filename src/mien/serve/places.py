"""`Places`: so many of a kind, of which one client may have a share; and who counts as one client."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil


class Places:
    """Counts who has how many of `number` places; a client may have `share` (above 0, up to 1) of them, and one at
    least."""

    def __init__(self, number: int, share: float = 1.0) -> None:
        self.number, self.each = number, max(1, ceil(number * share))
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        return self._taken.total()

    @property
    def full(self) -> bool:
        return self.taken >= self.number

    def spent(self, client: str) -> bool:
        """Whether this client has its share already."""
        return self._taken[client] >= self.each

    def take(self, client: str) -> bool:
        """Whether there was a place for this client; it has to be left again."""
        if self.full or self.spent(client):
            return False
        self._taken[client] += 1
        return True

    def leave(self, client: str) -> None:
        self._taken[client] -= 1
        if not self._taken[client]:
            del self._taken[client]


@lru_cache(4096)
def one_client(address: str) -> str:
    """By what a client is known: its IPv4 address, or the 64 bits of an IPv6 network, of which a single machine usually
    has all addresses. What is no address stays as it is."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped or ip_network((ip, 64), strict=False))
    return str(ip)
