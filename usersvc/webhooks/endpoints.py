"""Where webhooks may go: the form of a URL, and which addresses are public, in whatever form they come.

A name is judged by the addresses that it has when something is sent, which must be those that are connected
to: who owns the name could answer differently a moment later.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

from usersvc.setting_types import comma_list, is_host

MOST_CHARACTERS = 2000
_PORTS = {"https": 443, "http": 80}
# RFC 4291: what is routed on the internet lies in here; and RFC 6052: IPv4 by way of a translator.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_TRANSLATED = IPv6Network("64:ff9b::/96")
# Of IANA's registries of special addresses, what not every Python that we run on knows of.
_SPECIAL = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("2001::/23"),
    IPv6Network("3fff::/20"),
)

Address = IPv4Address | IPv6Address


class InvalidUrl(ValueError):
    """With the reason, for a person."""


@dataclass(frozen=True)
class Endpoint:
    """A URL taken apart. `target` is path and query, which may hold a secret: never logged."""

    host: str
    port: int
    target: str
    over_tls: bool

    @property
    def authority(self) -> str:
        """For the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.over_tls else "http"] else f"{host}:{self.port}"


def parse(url: str) -> Endpoint:
    """Raises InvalidUrl. Says nothing of the address behind it."""
    if not url.isascii() or not url.isprintable() or any(mark in url for mark in ' \\"<>'):
        raise InvalidUrl("Write it in ASCII, without spaces and backslashes.")
    if len(url) > MOST_CHARACTERS:
        raise InvalidUrl(f"It has more than {MOST_CHARACTERS} characters.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidUrl("It is no URL.") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise InvalidUrl("It must begin with https:// and name a host.")
    if "@" in parts.netloc or "#" in url:
        raise InvalidUrl("It must have neither a user name nor a fragment.")
    if port == 0 or "%" in parts.netloc or not is_host(parts.hostname):
        raise InvalidUrl("Its host or port is none.")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Endpoint(parts.hostname, port or _PORTS[parts.scheme], target, parts.scheme == "https")


@dataclass(frozen=True)
class Allowed:
    """`networks` are those of the settings: besides the public internet, and in the clear too."""

    networks: str

    def reaches(self, address: str, *, over_tls: bool) -> bool:
        """Whether something may be sent to this address, which may be IPv4 in the clothes of IPv6."""
        led_to = list(_leads_to(ipaddress.ip_address(address.partition("%")[0])))
        if all(self._names(found) for found in led_to):
            return True
        return over_tls and all(_is_public(found) for found in led_to)

    def _names(self, address: Address) -> bool:
        return any(address in ipaddress.ip_network(network) for network in comma_list(self.networks))


def _leads_to(address: Address) -> Iterator[Address]:
    """The addresses that packets to this one end at, as far as it tells."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped:
        yield address.ipv4_mapped
    elif address in _TRANSLATED:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    else:
        yield address
        if address.sixtofour:
            yield address.sixtofour
        if address.teredo:
            yield from address.teredo


def _is_public(address: Address) -> bool:
    """Neither a machine of ours nor many machines at once; what Python's `is_global` lets in is more."""
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
