"""Who a request comes from, with proxies that are trusted and with people who pretend to be one."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.conftest import Client
from tests.factories import audit_rows
from usersvc.api.client_address import (
    client_address,
    looks_like_a_proxy,
    networks,
    on_this_machine,
)

PROXIES = networks("127.0.0.1, 10.0.0.0/8, 2001:db8::/32")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.1", ["192.0.2.1"], "198.51.100.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("::ffff:127.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("127.0.0.1", ["203.0.113.66, 192.0.2.1"], "192.0.2.1"),
        ("127.0.0.1", ["203.0.113.66", "192.0.2.1, 10.1.2.3"], "192.0.2.1"),
        ("127.0.0.1", ["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
        ("127.0.0.1", ["192.0.2.1, nonsense"], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.1, , 10.1.2.3"], "10.1.2.3"),
        ("2001:db8::5", ["2A00:0:0::1"], "2a00::1"),
        ("127.0.0.1", ["203.0.113.66:9, 8.8.8.8:1234"], "8.8.8.8"),
        ("127.0.0.1", ["192.0.2.1:5, 10.1.2.3:65535"], "192.0.2.1"),
        ("127.0.0.1", ["[2a00::1]:443"], "2a00::1"),
        ("127.0.0.1", ["[2a00::1]"], "2a00::1"),
        ("127.0.0.1", ["2a00::1:443"], "2a00::1:443"),
        ("127.0.0.1", ["[::ffff:192.0.2.1]:80"], "192.0.2.1"),
        ("127.0.0.1", ["[192.0.2.1]"], "127.0.0.1"),
        ("127.0.0.1", ["[2a00::1]443"], "127.0.0.1"),
        ("127.0.0.1", ["[2a00::1"], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.1:"], "127.0.0.1"),
        ("fe80::1%eth0", ["192.0.2.1"], "fe80::1"),
        ("127.0.0.1", ["192.0.2.1:http"], "127.0.0.1"),
        ("127.0.0.1", [":80"], "127.0.0.1"),
        ("testclient", ["192.0.2.1"], "testclient"),
        (None, ["192.0.2.1"], None),
    ],
)
def test_a43_the_right_most_hop_that_is_no_trusted_proxy_is_the_client(
    peer: str | None, forwarded: list[str], client: str | None
) -> None:
    assert client_address(peer, forwarded, PROXIES) == client


def test_a43_nobody_is_believed_unless_he_is_named() -> None:
    assert client_address("127.0.0.1", ["192.0.2.1"], []) == "127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "is_here"),
    [
        ("127.0.0.1", [], True),
        ("127.8.7.6", [], True),
        ("::ffff:127.0.0.1", [], True),
        ("127.0.0.1", ["127.0.0.1"], True),
        ("127.0.0.1", ["127.0.0.1:4711, [::1]:80"], True),
        ("127.0.0.1", ["203.0.113.66:80"], False),
        ("127.0.0.1", ["203.0.113.66"], False),
        ("127.0.0.1", ["127.0.0.1, 203.0.113.66"], False),
        ("127.0.0.1", ["203.0.113.66, 127.0.0.1"], False),
        ("127.0.0.1", ["127.0.0.1", "unknown"], False),
        ("127.0.0.1", [""], False),
        ("::1", [], True),
        ("::1", ["127.0.0.1"], False),
        ("10.0.0.1", [], False),
        ("10.0.0.1", ["127.0.0.1"], False),
        ("198.51.100.1", ["127.0.0.1"], False),
        ("testclient", [], False),
        (None, [], False),
        (None, ["127.0.0.1"], False),
    ],
)
def test_only_who_is_on_loopback_with_every_hop_that_is_believed_is_on_this_machine(
    peer: str | None, forwarded: list[str], is_here: bool
) -> None:
    assert on_this_machine(peer, forwarded, PROXIES) is is_here


def _failed_login(client: Client, **headers: str) -> None:
    body = {"email": "ada@example.org", "password": "wrong password 123"}
    client.post("/auth/login", json=body, headers=headers)


@pytest.mark.parametrize(("trusted", "seen"), [("", "192.0.2.7"), ("192.0.2.0/24", "198.51.100.9")])
def test_the_audit_and_the_limits_know_the_client(
    make_core: Callable[..., Any], trusted: str, seen: str
) -> None:
    core = make_core(server__trusted_proxies=trusted)
    _failed_login(Client(core), **{"X-Forwarded-For": "203.0.113.66, 198.51.100.9"})
    [entry] = audit_rows(core, "user.login_failed")
    assert entry.ip == seen


def test_a43_other_headers_that_proxies_use_change_nothing(client: Client, core: Any) -> None:
    for name in ("X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP"):
        _failed_login(client, **{name: "203.0.113.66"})
    assert {entry.ip for entry in audit_rows(core, "user.login_failed")} == {"192.0.2.7"}


def test_what_is_no_address_looks_like_no_proxy() -> None:
    assert looks_like_a_proxy("10.0.0.1")
    assert looks_like_a_proxy("127.0.0.1")
    assert not looks_like_a_proxy("8.8.8.8")
    assert not looks_like_a_proxy("a socket")
    assert not looks_like_a_proxy(None)


def test_a_proxy_that_nobody_named_is_told_of_once(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            _failed_login(client, **{"X-Forwarded-For": "203.0.113.66"})
    [told] = _told_of_a_proxy(caplog)
    assert "'peer': '192.0.2.7'" in told


def _told_of_a_proxy(caplog: pytest.LogCaptureFixture) -> list[str]:
    messages = [record.getMessage() for record in caplog.records]
    return [message for message in messages if "server.trusted_proxies" in message]


@pytest.mark.parametrize(
    ("peer", "trusted", "headers"),
    [
        ("192.0.2.7", "", {}),
        ("8.8.8.8", "", {"X-Forwarded-For": "203.0.113.66"}),
        ("192.0.2.7", "192.0.2.7", {"X-Forwarded-For": "203.0.113.66"}),
        ("192.0.2.7", "10.0.0.1", {"X-Forwarded-For": "203.0.113.66"}),
    ],
    ids=["no header", "nobody's own address", "trusted", "another one is trusted"],
)
def test_of_nothing_else_it_is_told(
    make_core: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    peer: str,
    trusted: str,
    headers: dict[str, str],
) -> None:
    client = Client(make_core(server__trusted_proxies=trusted), peer)
    with caplog.at_level(logging.WARNING):
        _failed_login(client, **headers)
    assert _told_of_a_proxy(caplog) == []
