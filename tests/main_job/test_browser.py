"""Mails, pages and API document in a real browser, as a person opens, reads and presses them."""

import email
import email.policy
import re
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import DESKTOP, PHONE, chromium, opened, width
from tests.factories import EMAIL, OTHER_PASSWORD, PASSWORD, text_of, token_in_file
from tests.mail.test_messages import DATA, html_of, render
from tests.processes import Usersvc, eventually

WEAK_PASSWORD = "password1234"
NEW_PASSWORD = "marble 92 otter fog"
NOWHERE = "http://127.0.0.1:1"

pytestmark = pytest.mark.process


@pytest.fixture
def usersvc(tmp_path: Path) -> Iterator[Usersvc]:
    usersvc = Usersvc(tmp_path)
    with usersvc.serving():
        yield usersvc


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def page(browser: Browser, usersvc: Usersvc, request: pytest.FixtureRequest) -> Iterator[Page]:
    with opened(browser, usersvc.url, **request.param) as page:
        yield page


def _mailed(usersvc: Usersvc, kind: str) -> Path:
    """The one mail of this kind, once it is there."""
    [path] = eventually(lambda: [path for path in usersvc.mails() if kind in path.name])
    return path


def _registered(usersvc: Usersvc, password: str = PASSWORD) -> None:
    assert usersvc.post("/users", {"email": EMAIL, "password": password}).status_code == 202


def _activated(usersvc: Usersvc) -> None:
    _registered(usersvc)
    token = token_in_file(_mailed(usersvc, "activation"))
    assert usersvc.post("/auth/activate", {"token": token}).status_code == 200


def _invited(usersvc: Usersvc) -> None:
    admin = {"email": "root@example.org", "password": PASSWORD}
    usersvc.run("create-admin", admin["email"], "--password-stdin", text=PASSWORD)
    pair = usersvc.post("/auth/login", admin).json()["data"]
    headers = {"Authorization": f"Bearer {pair['access_token']}"}
    assert usersvc.post("/admin/users", {"email": EMAIL}, headers=headers).status_code == 201


def _login(usersvc: Usersvc, password: str) -> int:
    return usersvc.post("/auth/login", {"email": EMAIL, "password": password}).status_code


def _follow(page: Page, mail: Path, button: str) -> str:
    """Read this mail and press its button; the address that it leads to."""
    message = email.message_from_bytes(mail.read_bytes(), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    page.goto("about:blank")  # The rules of the page before would hold for the mail too.
    page.set_content(html_of(message))
    with page.expect_navigation():
        page.get_by_role("link", name=button, exact=True).click()
    assert page.url in text_of(message).splitlines()
    return page.url


def _press(page: Page, button: str) -> None:
    with page.expect_navigation():
        page.get_by_role("button", name=button).click()


def _submit(page: Page, label: str, password: str, button: str) -> None:
    page.get_by_label(label).fill(password)
    _press(page, button)


def _shows(page: Page, title: str) -> None:
    """This page, made so that everybody can read it, on every width and without seeing it."""
    assert page.title() == title
    assert page.get_by_role("heading", level=1).inner_text() == title
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.viewport_size
    assert width(page) <= page.viewport_size["width"]
    assert page.locator("script").count() == 0
    for field in page.locator("input:not([type=hidden])").all():
        assert field.evaluate("field => field.labels.length") == 1
        assert field.get_attribute("autocomplete") == "new-password"


def _reason(page: Page) -> str:
    expect(page.get_by_role("alert")).to_be_visible()
    return page.get_by_role("alert").inner_text()


def test_a_person_opens_the_mailed_link_twice_and_activates_with_its_button(
    page: Page, usersvc: Usersvc
) -> None:
    _registered(usersvc)
    link = _follow(page, _mailed(usersvc, "activation"), "Activate account")
    page.goto(link)
    _shows(page, "Activate your account")
    assert _login(usersvc, PASSWORD) == 401

    _press(page, "Activate account")
    _shows(page, "Your account is active")
    expect(page.get_by_text(EMAIL)).to_be_visible()
    assert _login(usersvc, PASSWORD) == 200

    page.goto(link)
    _shows(page, "That did not work")
    assert "not valid" in _reason(page)
    assert page.get_by_role("button").count() == 0


def test_a_person_whose_password_somebody_voided_chooses_one_with_the_link(
    page: Page, usersvc: Usersvc
) -> None:
    _registered(usersvc)
    _registered(usersvc, OTHER_PASSWORD)
    _follow(page, _mailed(usersvc, "activation"), "Activate account")
    _shows(page, "Activate your account")

    _submit(page, "Password", WEAK_PASSWORD, "Activate account")
    _shows(page, "Activate your account")
    assert "most common" in _reason(page)
    expect(page.get_by_label("Password")).to_have_value("")

    _submit(page, "Password", NEW_PASSWORD, "Activate account")
    _shows(page, "Your account is active")
    assert [_login(usersvc, password) for password in (PASSWORD, OTHER_PASSWORD)] == [401, 401]
    assert _login(usersvc, NEW_PASSWORD) == 200


def test_a_person_who_forgot_the_password_sets_another_with_the_link(page: Page, usersvc: Usersvc) -> None:
    _activated(usersvc)
    assert usersvc.post("/auth/forgot-password", {"email": EMAIL}).status_code == 202
    link = _follow(page, _mailed(usersvc, "reset"), "Choose a new password")
    page.goto(link)
    _shows(page, "Choose a new password")

    _submit(page, "New password", WEAK_PASSWORD, "Set password")
    _shows(page, "Choose a new password")
    assert "most common" in _reason(page)
    assert _login(usersvc, PASSWORD) == 200

    _submit(page, "New password", NEW_PASSWORD, "Set password")
    _shows(page, "Your password is set")
    assert (_login(usersvc, PASSWORD), _login(usersvc, NEW_PASSWORD)) == (401, 200)

    page.goto(link)
    _shows(page, "That did not work")
    assert "not valid" in _reason(page)


def test_a_person_who_was_invited_chooses_a_password_with_the_link(page: Page, usersvc: Usersvc) -> None:
    _invited(usersvc)
    _follow(page, _mailed(usersvc, "invitation"), "Choose a password")
    _shows(page, "Choose a password")

    _submit(page, "Password", WEAK_PASSWORD, "Set password")
    _shows(page, "Choose a password")
    assert "most common" in _reason(page)

    _submit(page, "Password", NEW_PASSWORD, "Set password")
    _shows(page, "Your account is active")
    assert _login(usersvc, NEW_PASSWORD) == 200


def _focused(page: Page) -> Locator:
    return page.locator(":focus-visible")


def test_the_keyboard_is_enough(browser: Browser, usersvc: Usersvc) -> None:
    _registered(usersvc)
    with opened(browser, usersvc.url, **DESKTOP) as page:
        _follow(page, _mailed(usersvc, "activation"), "Activate account")
        page.keyboard.press("Tab")
        expect(_focused(page)).to_have_text("Activate account")
        expect(_focused(page)).not_to_have_css("outline-style", "none")
        page.keyboard.press("Enter")
        page.wait_for_url("**/activate")
        _shows(page, "Your account is active")

        usersvc.post("/auth/forgot-password", {"email": EMAIL})
        _follow(page, _mailed(usersvc, "reset"), "Choose a new password")
        expect(_focused(page)).to_have_accessible_name("New password")
        page.keyboard.type(WEAK_PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/reset-password")
        expect(_focused(page)).to_have_accessible_name("New password")
        expect(_focused(page)).not_to_have_css("outline-style", "none")
        page.keyboard.type(NEW_PASSWORD)
        page.keyboard.press("Tab")
        expect(_focused(page)).to_have_text("Set password")
        page.keyboard.press("Enter")
        expect(page).to_have_title("Your password is set")
    assert _login(usersvc, NEW_PASSWORD) == 200


def test_a_developer_tries_the_api_in_swagger_ui(browser: Browser, usersvc: Usersvc) -> None:
    _activated(usersvc)
    pair = usersvc.post("/auth/login", {"email": EMAIL, "password": PASSWORD}).json()["data"]
    with opened(browser, usersvc.url, **DESKTOP) as page:
        page.goto("/docs")
        page.get_by_role("button", name="Authorize").click()
        dialog = page.locator(".dialog-ux")
        # Beside it stands what a service logs in with.
        bearer = dialog.locator(".auth-container", has=page.locator("#auth-bearer-value"))
        bearer.get_by_role("textbox").fill(pair["access_token"])
        bearer.get_by_role("button", name="Apply credentials").click()
        dialog.get_by_role("button", name="Close", exact=True).first.click()

        operation = page.locator(".opblock-get", has=page.locator('[data-path="/api/v1/users/me"]'))
        operation.locator(".opblock-summary-control").click()
        operation.get_by_role("button", name="Try it out").click()
        operation.get_by_role("button", name="Execute").click()
        answer = operation.locator(".live-responses-table")
        expect(answer.locator(".response-col_status").last).to_contain_text("200")
        expect(answer.locator(".response-col_description").last).to_contain_text(f'"email": "{EMAIL}"')


@pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("kind", DATA)
def test_a_mail_can_be_read_on_every_width_and_asks_for_nothing(
    browser: Browser, kind: str, window: dict[str, Any]
) -> None:
    """With words that are too long for a line, too: a host, the name of a browser."""
    long = {"host": f"{'users' * 12}.example.org", "device": "Mozilla/5.0" * 20}
    message = render(kind, {name: value for name, value in long.items() if name in DATA[kind]})
    with opened(browser, NOWHERE, **window) as page:
        page.set_content(html_of(message))
        assert width(page) <= window["viewport"]["width"]
        assert page.locator("script, img, link, iframe, form").count() == 0
        links = {link.get_attribute("href") for link in page.get_by_role("link").all()}
        assert links == {word for word in text_of(message).split() if "://" in word}
        assert bool(links) == ("link" in DATA[kind])


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ("<script>console.error('broken')</script>", "console: broken"),
        ("<script>throw new Error('broken')</script>", "error: broken"),
        ("<img src='http://example.org/broken.png'>", "elsewhere: http://example.org/broken.png"),
        (f"<img src='{NOWHERE}/broken.png'>", f": {NOWHERE}/broken.png"),
        (
            "<meta http-equiv=Content-Security-Policy content=\"style-src 'none'\"><p style='color:red'>",
            "inline style violates the following Content Security Policy",
        ),
    ],
)
def test_what_goes_wrong_in_the_browser_fails_the_test(browser: Browser, html: str, fault: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(fault)), opened(browser, NOWHERE) as page:
        page.set_content(html)


def test_what_a_page_does_not_find_fails_the_test(browser: Browser, usersvc: Usersvc) -> None:
    with pytest.raises(AssertionError, match=r"404: \S+/broken"), opened(browser, usersvc.url) as page:
        page.goto("/docs")
        page.evaluate("fetch('/broken')")
