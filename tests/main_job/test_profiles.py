"""Fields of a project's own, with a real server: as docs/extending.md has them."""

import json
import re
import socket
from pathlib import Path

import httpx2
import pytest

from tests.factories import EMAIL, PASSWORD
from tests.processes import Usersvc
from tests.profiles import ATTRIBUTES, write_schema

pytestmark = pytest.mark.process

EXTENDING = (Path(__file__).parents[2] / "docs/extending.md").read_text(encoding="utf-8")


def test_the_schema_of_the_documents_is_served_and_kept_to(tmp_path: Path) -> None:
    [schema] = re.findall(r"```json\n(.*?)```", EXTENDING, re.DOTALL)
    [example] = re.findall(r"`(\{\"profile\": .*\})` to `PATCH", EXTENDING)
    usersvc = Usersvc(tmp_path)
    write_schema(tmp_path / "profile.schema.json", schema)
    write_schema(tmp_path / "attributes.schema.json", ATTRIBUTES)
    settings = tmp_path / "usersvc.toml"
    settings.write_text(
        '[profiles]\nprofile_schema = "profile.schema.json"\nattributes_schema = "attributes.schema.json"\n',
        encoding="utf-8",
    )
    settings.chmod(0o600)
    usersvc.run("create-admin", EMAIL, "--password-stdin", text=PASSWORD)
    with usersvc.serving() as server:
        pair = usersvc.post("/auth/login", {"email": EMAIL, "password": PASSWORD}).json()["data"]
        headers = {"Authorization": f"Bearer {pair['access_token']}"}

        def change(body: object) -> httpx2.Response:
            return httpx2.patch(f"{usersvc.api}/users/me", json=body, headers=headers, timeout=30)

        assert change(json.loads(example)).status_code == 200
        refused = change({"profile": {"birthday": "1815-02-30", "shoe_size": 38}})
        assert refused.status_code == 422
        assert {problem["field"] for problem in refused.json()["error"]["fields"]} == {
            "profile.birthday",
            "profile.shoe_size",
        }
        usersvc.run("set-attributes", EMAIL, "-", text='{"customer": "C-1815"}')
        me = usersvc.me(pair["access_token"]).json()["data"]
        assert (me["profile"], me["attributes"]) == (json.loads(example)["profile"], {"customer": "C-1815"})
        assert server.stop() == 0
        assert "London" not in server.output
    shown = json.loads(usersvc.run("show-user", EMAIL, "--json").stdout)
    assert {name: shown[name] for name in ("profile", "attributes")} == {
        "profile": me["profile"],
        "attributes": me["attributes"],
    }


def test_a_schema_that_is_wrong_or_leads_elsewhere_stops_the_start_and_asks_nobody(tmp_path: Path) -> None:
    usersvc = Usersvc(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        url = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/schema.json"
        write_schema(tmp_path / "p.json", {"properties": {"a": {"$ref": url}}})
        write_schema(tmp_path / "a.json", {"$ref": (tmp_path / "p.json").as_uri()})
        usersvc.environ |= {
            "USERSVC_PROFILES__PROFILE_SCHEMA": "p.json",
            "USERSVC_PROFILES__ATTRIBUTES_SCHEMA": "a.json",
            "USERSVC_PROFILES__MAX_BYTES": "1",
        }
        wrong = usersvc.run("serve", check=78).stderr
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
    assert "USERSVC_PROFILES__MAX_BYTES" in wrong
    usersvc.environ["USERSVC_PROFILES__MAX_BYTES"] = "100"
    wrong = usersvc.run("serve", check=78).stderr
    assert "p.json: properties.a.$ref: expected a place in this file" in wrong
    assert "a.json: $ref: expected a place in this file" in wrong
    assert "Traceback" not in wrong
    assert not (tmp_path / "data").exists()
