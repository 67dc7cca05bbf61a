from uuid import uuid4

import pytest

from usersvc.services.actor import PERMISSIONS, Actor


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        (None, None),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:0201", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("fe80::2%eth1", "fe80::/64"),
        ("fe80::%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("192.0.2.999", "192.0.2.999"),
    ],
)
def test_a_network_is_an_ipv4_address_or_an_ipv6_64(ip: str | None, network: str | None) -> None:
    assert Actor("anonymous", ip=ip).network == network


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        (None, None),
        ("192.0.2.1", None),
        ("::ffff:192.0.2.1", None),
        ("testclient", None),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("2001:db8:1:ffff::1", "2001:db8:1::/48"),
        ("2001:db8:2::1", "2001:db8:2::/48"),
    ],
)
def test_a_wider_network_is_an_ipv6_48(ip: str | None, network: str | None) -> None:
    assert Actor("anonymous", ip=ip).wider_network == network


def test_who_signs_in_stays_where_he_is(stranger: Actor) -> None:
    user_id, session_id = uuid4(), uuid4()
    actor = stranger.signed_in(user_id, session_id)
    assert (actor.kind, actor.user_id, actor.session_id) == ("user", user_id, session_id)
    assert (actor.ip, actor.user_agent, actor.request_id) == ("192.0.2.1", "pytest", "test-request")
    assert stranger.user_id is None


def test_operators_and_jobs_have_a_name_and_no_user() -> None:
    operator, job = Actor.operator("root"), Actor.job("purge_expired")
    assert (operator.kind, operator.name, operator.user_id, operator.network) == (
        "operator",
        "root",
        None,
        None,
    )
    assert (job.kind, job.name, job.user_id) == ("job", "purge_expired", None)


def test_each_role_may_do_what_the_lower_one_may_and_more() -> None:
    user, moderator, admin = (set(PERMISSIONS[role]) for role in ("user", "moderator", "admin"))
    assert user < moderator < admin
    assert user == set()
    assert moderator == {"content:manage"}
    assert admin - moderator == {
        *("users:read", "users:write", "roles:write", "audit:read"),
        *("services:read", "services:write"),
        *("groups:read", "groups:write"),
    }
    assert set(PERMISSIONS) == {"user", "moderator", "admin"}
