"""The examples of docs/relying-services.md, each asked with the same headers; prints what it answered.

It runs with the folder `verify` alone, where nothing else of usersvc and none of its other dependencies is.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

Ask = Callable[[dict[str, str]], int]


def of_flask(names: dict[str, Any]) -> Ask:
    client = names["app"].test_client()
    return lambda headers: int(client.get("/orders", headers=headers).status_code)


def of_django(names: dict[str, Any]) -> Ask:
    from django.conf import settings
    from django.test import RequestFactory

    settings.configure()
    factory = RequestFactory()
    return lambda headers: int(names["orders"](factory.get("/orders", headers=headers)).status_code)


def of_asgi(names: dict[str, Any]) -> Ask:
    def ask(headers: dict[str, str]) -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "GET", "path": "/orders", "headers": raw}
        asyncio.run(names["app"](scope, None, send))
        return int(sent[0]["status"])

    return ask


examples, requests = json.load(sys.stdin)
found: dict[str, dict[str, int]] = {}
for name, make in (("flask", of_flask), ("django", of_django), ("asgi", of_asgi)):
    names: dict[str, Any] = {}
    exec(compile(examples[name], name, "exec"), names)
    ask = make(names)
    found[name] = {what: ask(headers) for what, headers in requests.items()}
assert "sqlalchemy" not in sys.modules
assert [name for name in sys.modules if name.startswith("usersvc.") and ".verify" not in name] == []
print(json.dumps(found))
