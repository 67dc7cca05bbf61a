"""The languages of mails in a real server: asked for, changed, and kept up by a broken template."""

import email
from email import policy
from email.message import EmailMessage
from pathlib import Path

import httpx2
import pytest

from tests.factories import EMAIL, PASSWORD, text_of, token_in
from tests.processes import PATIENCE_SECONDS, Usersvc, eventually

pytestmark = [pytest.mark.process, pytest.mark.sqlite]


def _mails(usersvc: Usersvc, number: int) -> list[EmailMessage]:
    """All that went out, once there are so many; in their order."""
    folder = usersvc.folder / "data" / "mail"
    files = eventually(lambda: [*folder.glob("*.eml")] if len([*folder.glob("*.eml")]) == number else [])
    read = [email.message_from_bytes(file.read_bytes(), policy=policy.default) for file in sorted(files)]
    return sorted(read, key=lambda mail: str(mail["Message-ID"]))  # type: ignore[arg-type,return-value]


def test_a_person_is_mailed_in_his_language_though_a_template_is_broken(tmp_path: Path) -> None:
    usersvc = Usersvc(tmp_path)
    broken = usersvc.folder / "templates" / "zh-Hans" / "activation.txt"
    broken.parent.mkdir(parents=True)
    broken.write_text("激活\n\n{{ lnk }}\n", encoding="utf-8")
    usersvc.environ["USERSVC_MAIL__TEMPLATES_DIR"] = "templates"
    with usersvc.serving() as running:
        asked = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}
        registered = usersvc.post("/users", {"email": EMAIL, "password": PASSWORD}, headers=asked)
        assert registered.status_code == 202
        [activation] = _mails(usersvc, 1)
        assert activation["Content-Language"] == "zh-Hans"
        assert str(activation["Subject"]).startswith("激活您在 127.0.0.1")
        assert usersvc.post("/auth/activate", {"token": token_in(activation)}).status_code == 200
        tokens = usersvc.post("/auth/login", {"email": EMAIL, "password": PASSWORD}).json()["data"]
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        changed = httpx2.patch(
            f"{usersvc.api}/users/me", json={"locale": "pt"}, headers=bearer, timeout=PATIENCE_SECONDS
        )
        assert changed.json()["data"]["locale"] == "pt"
        assert usersvc.me(tokens["access_token"]).json()["data"]["locale"] == "pt"
        assert usersvc.post("/auth/forgot-password", {"email": EMAIL}).status_code == 202
        [_, reset] = _mails(usersvc, 2)
        assert reset["Content-Language"] == "pt"
        assert "Alguém, provavelmente você, pediu" in text_of(reset)
        assert running.stop() == 0
    assert running.output.count("a template has a mistake") == 1
    assert f"{broken}:3: UndefinedError: 'lnk' is undefined" in running.output
