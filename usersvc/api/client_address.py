"""From which address a request comes: the peer's, or behind proxies that are trusted, what they say.

Each proxy appends the address that it was called from to `X-Forwarded-For`; what stands further left, a
client may have written itself. So the right-most address that is no trusted proxy is the client's.
"""

import ipaddress
import re
from collections.abc import Sequence

from usersvc.setting_types import comma_list

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_BRACKETS_OR_PORT = re.compile(r"\[([^]]*:[^]]*)\](?::[0-9]{1,5})?|([^:]+):[0-9]{1,5}")


def networks(text: str) -> list[Network]:
    """Of the setting `server.trusted_proxies`."""
    return [ipaddress.ip_network(part) for part in comma_list(text)]


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str | None:
    """`forwarded` are the values of all X-Forwarded-For headers, in their order."""
    address = _parse(peer or "")
    if address is None:
        return peer
    hops = _hops(forwarded)
    while hops and _is_in(address, trusted):
        further = _parse(hops.pop())
        if further is None:
            break  # Nonsense: the last proxy that can be believed is the best there is.
        address = further
    return str(address)


def on_this_machine(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> bool:
    """Whether the client itself is on loopback: the peer, and every hop that a trusted proxy names."""
    hops = [_parse(hop) for hop in _hops(forwarded)]
    address = _parse(peer or "")
    believed = not hops or (address is not None and _is_in(address, trusted))
    return believed and all(hop is not None and hop.is_loopback for hop in (address, *hops))


def looks_like_a_proxy(peer: str | None) -> bool:
    """Whether a proxy of one's own may stand there: nobody on the internet has such an address."""
    address = _parse(peer or "")
    return address is not None and (address.is_loopback or address.is_private)


def _hops(forwarded: Sequence[str]) -> list[str]:
    return [_without_port(hop.strip()) for value in forwarded for hop in value.split(",")]


def _without_port(hop: str) -> str:
    """Some proxies name the port too, and then put IPv6 in brackets."""
    found = _BRACKETS_OR_PORT.fullmatch(hop)
    return (found[1] or found[2]) if found else hop


def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_in(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)
