"""Keys are fetched seldom, whatever strangers send, and go on being used while they cannot be had."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.processes import eventually
from tests.verify.conftest import Publisher, World, published, publishing, signed, weak_rsa_key
from usersvc.security.keys import Key, Use, make_key
from usersvc.verify import InvalidToken, KeysUnavailable, TokenVerifier

pytestmark = pytest.mark.sqlite

STRANGE = {"kid": "unknown"}


def _good(world: World, key: Key | None = None) -> None:
    assert world.verifier.verify(signed(key or world.key)).role == "moderator"


def _refused(world: World, token: str, error: type[Exception] = InvalidToken) -> Exception:
    with pytest.raises(error) as caught:
        world.verifier.verify(token)
    assert type(caught.value) is error
    return caught.value


def test_keys_are_fetched_with_the_first_token_and_again_when_they_are_old(world: World) -> None:
    assert world.publisher.asked == 0
    for _ in range(50):
        _good(world)
    assert world.publisher.asked == 1
    world.age += 299.9
    _good(world)
    assert world.publisher.asked == 1
    world.age += 0.1
    _good(world)
    assert world.publisher.asked == 2


def test_a77_a_new_key_is_found_and_a_removed_one_is_gone_with_the_next_fetch(world: World) -> None:
    _good(world)
    new = make_key(Use.ACCESS)
    world.publisher.publish(world.key, new)
    world.age += 30
    _good(world, new)
    assert world.publisher.asked == 2
    world.publisher.publish(new)
    world.age += 299
    _good(world)
    world.age += 1
    _refused(world, signed(world.key))
    _good(world, new)
    assert world.publisher.asked == 3


def test_a75_unknown_keys_cause_one_fetch_in_each_pause_whatever_strangers_send(world: World) -> None:
    _good(world)
    for number in range(200):
        _refused(world, signed(world.key, header={"kid": f"unknown-{number}"}))
    assert world.publisher.asked == 1
    world.age += 29.9
    _refused(world, signed(world.key, header=STRANGE))
    assert world.publisher.asked == 1
    world.age += 0.1
    for number in range(200):
        _refused(world, signed(world.key, header={"kid": f"unknown-{number}"}))
    assert world.publisher.asked == 2
    _good(world)
    assert world.publisher.asked == 2


def test_a75_unknown_keys_at_the_same_time_cause_one_fetch_and_hold_up_nobody_else(world: World) -> None:
    _good(world)
    world.age += 30
    world.publisher.gate.clear()
    with ThreadPoolExecutor(8) as threads:
        strange = [
            threads.submit(_refused, world, signed(world.key, header={"kid": f"k{number}"}))
            for number in range(8)
        ]
        eventually(lambda: world.publisher.asked == 2)
        for _ in range(20):
            _good(world)  # while the server does not answer
        world.publisher.gate.set()
        for one in strange:
            one.result(20)
    assert world.publisher.asked == 2


def test_those_who_come_first_together_wait_for_one_fetch(world: World) -> None:
    world.publisher.gate.clear()
    with ThreadPoolExecutor(8) as threads:
        first = [threads.submit(_good, world) for _ in range(8)]
        eventually(lambda: world.publisher.asked)
        world.publisher.gate.set()
        for one in first:
            one.result(20)
    assert world.publisher.asked == 1


def test_in_the_event_loop_a_fetch_holds_up_nobody_and_keys_at_hand_need_no_thread(world: World) -> None:
    token = signed(world.key)

    async def scene() -> None:
        world.publisher.gate.clear()
        waiting = [asyncio.create_task(world.verifier.verify_async(token)) for _ in range(5)]
        while not world.publisher.asked:
            await asyncio.sleep(0.01)
        waiting[0].cancel()
        await asyncio.sleep(0)
        world.publisher.gate.set()
        assert [claims.role for claims in await asyncio.gather(*waiting[1:])] == ["moderator"] * 4
        assert waiting[0].cancelled()
        # Driven by hand it comes to its end in one step: it has waited for nothing.
        with pytest.raises(StopIteration) as done:
            world.verifier.verify_async(token).send(None)
        assert done.value.value.role == "moderator"
        with pytest.raises(InvalidToken):
            world.verifier.verify_async(signed(world.key, header=STRANGE)).send(None)

    before = threading.active_count()
    asyncio.run(scene())
    eventually(lambda: threading.active_count() <= before)
    assert world.publisher.asked == 1


def test_where_the_first_fetch_fails_nothing_is_known_and_it_is_tried_again_soon(world: World) -> None:
    world.publisher.fail()
    for _ in range(20):
        error = _refused(world, signed(world.key), KeysUnavailable)
        assert isinstance(error, KeysUnavailable)
        assert (error.status, error.headers) == (503, {"Retry-After": "2"})
    assert world.publisher.asked == 1
    world.publisher.publish(world.key)
    world.age += 1.9
    _refused(world, signed(world.key), KeysUnavailable)
    world.age += 0.1
    _good(world)
    assert world.publisher.asked == 2
    for number in range(20):
        world.age += 1
        _refused(world, signed(world.key, header={"kid": str(number)}))
    assert world.publisher.asked == 2


def test_where_a_later_fetch_fails_the_keys_go_on_being_used_for_a_day(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    _good(world)
    world.publisher.fail()
    begun = world.age
    world.age = begun + 300
    for _ in range(20):
        _good(world)
    assert world.publisher.asked == 2
    assert "500" in caplog.text
    # A key that is new meanwhile cannot be told from one that is made up.
    error = _refused(world, signed(world.key, header=STRANGE), KeysUnavailable)
    assert isinstance(error, KeysUnavailable)
    assert error.retry_after == 30
    world.age = begun + 330
    _good(world)
    assert world.publisher.asked == 3
    world.age = begun + 86399.9
    _good(world)
    world.age = begun + 86400
    _refused(world, signed(world.key), KeysUnavailable)
    world.publisher.publish(world.key)
    world.age += 2
    _good(world)


def test_who_waits_for_a_server_that_hangs_is_let_go(world: World) -> None:
    world.verifier = world.another(timeout_seconds=0.2)
    _good(world)
    world.publisher.gate.clear()
    world.age += 300
    _good(world)
    world.age += 30
    assert asyncio.run(world.verifier.verify_async(signed(world.key))).role == "moderator"
    world.verifier = world.another(timeout_seconds=0.2)
    _refused(world, signed(world.key), KeysUnavailable)
    world.publisher.gate.set()


def _redirect(publisher: Publisher, key: Key) -> None:
    publisher.answer = (302, {"Location": publisher.url + "?again"}, b"")


def _of(body: bytes, **headers: str) -> Callable[[Publisher, Key], None]:
    def put(publisher: Publisher, key: Key) -> None:
        publisher.answer = (200, headers, body)

    return put


def _as(**changed: Any) -> Callable[[Publisher, Key], None]:
    """The good key, but for something."""

    def put(publisher: Publisher, key: Key) -> None:
        found = json.loads(published(key))["keys"][0]
        made = {name: value for name, value in {**found, **changed}.items() if value is not None}
        publisher.answer = (200, {}, json.dumps({"keys": [made]}).encode())

    return put


def _padded(publisher: Publisher, key: Key) -> None:
    publisher.answer = (200, {}, published(key) + b" " * 65536)


def _small_rsa(publisher: Publisher, key: Key) -> None:
    publisher.publish(weak_rsa_key())


@pytest.mark.parametrize(
    "put",
    [
        _redirect,
        _padded,
        _small_rsa,
        _of(b""),
        _of(b"<html>"),
        _of(b"[]"),
        _of(b"{}"),
        _of(b'{"keys": []}'),
        _of(b'{"keys": {}}'),
        _of(b'{"keys": [1, null, [], "x", {}]}'),
        _of(b'{"keys": [], "keys": []}'),
        _of(b"[" * 60000),
        _of(b"\xff"),
        _of(b"{", **{"Content-Length": "1000"}),
        _as(kty="oct", k="c2VjcmV0"),
        _as(alg="HS256"),
        _as(alg="ES512"),
        _as(alg="none"),
        _as(use="enc"),
        _as(crv="P-384"),
        _as(crv=["P-256"]),
        _as(kty=["EC"]),
        _as(x="AAAA"),
        _as(x=1),
        _as(kid=""),
        _as(kid=1),
        _as(kid=None),
        _as(d="AAAA"),
    ],
)
def test_an_answer_that_is_no_set_of_public_keys_is_as_good_as_none(
    world: World, put: Callable[[Publisher, Key], None]
) -> None:
    put(world.publisher, world.key)
    _refused(world, signed(world.key), KeysUnavailable)
    assert world.publisher.asked == 1


def test_a_key_that_cannot_be_used_spoils_no_other(world: World) -> None:
    found = json.loads(published(world.key))["keys"]
    others = [1, {"kty": "AKP", "kid": "new"}, {**found[0], "kid": "b", "alg": "HS256"}]
    world.publisher.answer = (200, {}, json.dumps({"keys": [*others, *found]}).encode())
    _good(world)
    _refused(world, signed(world.key, header={"kid": "b"}))


def test_a_key_is_used_without_its_alg_and_use_as_its_kind_says(world: World) -> None:
    _as(alg=None, use=None)(world.publisher, world.key)
    _good(world)


def test_a_server_that_is_not_there_is_no_bug(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    world.verifier = world.another(jwks_url=f"http://127.0.0.1:{port}/jwks.json")
    _refused(world, signed(world.key), KeysUnavailable)


def test_proxies_of_the_environment_are_asked_only_where_that_is_wanted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer of what stands there as the proxy is another key."""
    other = make_key(Use.ACCESS)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with publishing(other) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/.well-known/jwks.json"))
        _good(world)
        assert proxy.asked == 0
        world.verifier = TokenVerifier(
            "http://usersvc.invalid", "orders", allow_http=True, proxies_of_environment=True
        )
        _refused(world, signed(world.key))
        assert proxy.asked == 1
