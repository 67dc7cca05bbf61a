"""Who acts, and what each role may do."""

import ipaddress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Self, get_args
from uuid import UUID

PERMISSIONS: dict[str, list[str]] = {
    "user": [],
    "moderator": ["content:manage"],
    "admin": [
        "content:manage",
        "users:read",
        "users:write",
        "roles:write",
        "audit:read",
        "groups:read",
        "groups:write",
        "services:read",
        "services:write",
    ],
}

Kind = Literal["anonymous", "user", "operator", "job", "service"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Actor:
    """Plain values that a face knows; every audit entry names one."""

    kind: Kind
    user_id: UUID | None = None
    session_id: UUID | None = None
    name: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    service_id: UUID | None = None
    """Of a service; it holds no permission of usersvc's own."""

    @classmethod
    def operator(cls, name: str) -> Self:
        return cls("operator", name=name)

    @classmethod
    def job(cls, name: str) -> Self:
        return cls("job", name=name)

    def signed_in(self, user_id: UUID, session_id: UUID) -> Self:
        return type(self)("user", user_id, session_id, self.name, self.ip, self.user_agent, self.request_id)

    def of_service(self, service_id: UUID, name: str) -> Self:
        return replace(self, kind="service", name=name, service_id=service_id)

    @property
    def acting_id(self) -> UUID | None:
        """Of the user or the service."""
        return self.user_id or self.service_id

    @cached_property
    def network(self) -> str | None:
        """The IPv4 address or the IPv6 /64 that the actor comes from; mapped addresses count as IPv4."""
        return self._network(64)

    @cached_property
    def wider_network(self) -> str | None:
        """The IPv6 /48, which one customer of a provider may have whole; None for IPv4."""
        network = self._network(48)
        return network if network and "/" in network else None

    def _network(self, prefix: int) -> str | None:
        if self.ip is None:
            return None
        try:
            address = ipaddress.ip_address(self.ip.partition("%")[0])
        except ValueError:
            return self.ip
        if isinstance(address, ipaddress.IPv6Address):
            if address.ipv4_mapped:
                return str(address.ipv4_mapped)
            shift = 128 - prefix
            return f"{ipaddress.IPv6Address(int(address) >> shift << shift)}/{prefix}"
        return str(address)
