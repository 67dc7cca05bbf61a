"""Webhooks as they are used: a real server and worker, a receiver that goes away and comes back."""

import json
from collections.abc import Callable

import httpx2
import pytest

from tests.factories import EMAIL, PASSWORD, token_in_file
from tests.processes import Usersvc, eventually
from tests.receivers import HERE, receiver

pytestmark = pytest.mark.process


def test_a_receiver_hears_of_an_account_also_what_happened_while_it_was_away(
    usersvc: Usersvc, rows: Callable[..., list[tuple[object, ...]]]
) -> None:
    usersvc.environ["USERSVC_WEBHOOKS__ALLOWED_NETWORKS"] = HERE
    waiting = "SELECT event, attempts, outcome FROM webhook_deliveries WHERE status = 'due'"
    with usersvc.serving() as running:
        with receiver() as met:
            secret = json.loads(usersvc.run("create-webhook", met.url, "--json").stdout)["secret"]
            assert usersvc.post("/users", {"email": EMAIL, "password": PASSWORD}).status_code == 202
            eventually(lambda: len(met.received) == 1)
            [mail] = eventually(usersvc.mails)
            body = {"token": token_in_file(mail)}
            assert usersvc.post("/auth/activate", body).status_code == 200
            eventually(lambda: len(met.received) == 2)
        events = [got.verified_by(secret) for got in met.received]
        assert [event["type"] for event in events] == ["user.registered", "user.activated"]
        user_id = events[0]["data"]["user_id"]
        assert events[1]["data"] == {"user_id": user_id, "status": "active", "role": "user"}

        login = {"email": EMAIL, "password": PASSWORD}
        token = usersvc.post("/auth/login", login).json()["data"]["access_token"]
        _rename(usersvc, token, "ada")
        eventually(lambda: rows(waiting) == [("user.changed", 1, "not connected")])
        with receiver(port=met.port) as back:
            # The minute has passed.
            rows("UPDATE webhook_deliveries SET next_attempt_at = created_at WHERE status = 'due'")
            _rename(usersvc, token, "lovelace")
            eventually(lambda: len(back.received) == 2)
            eventually(lambda: rows(waiting) == [])
        assert [got.verified_by(secret)["data"]["user_id"] for got in back.received] == [user_id] * 2
        assert running.stop() == 0
    for hidden in (secret, "key=hidden", EMAIL):
        assert hidden not in running.output


def _rename(usersvc: Usersvc, token: str, username: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{usersvc.api}/users/me"
    renamed = httpx2.patch(url, json={"username": username}, headers=headers, timeout=30)
    assert renamed.status_code == 200
