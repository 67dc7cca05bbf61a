"""A real browser for tests: pages as a person sees them, and everything that goes wrong in one."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}

_TIMEOUT = 90_000
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
]


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium without a window, with a new profile. An event loop runs in this thread meanwhile."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    assert path, "the tests need Chromium: `make test` installs it, CHROMIUM=/path/to/it names one"
    expect.set_options(timeout=_TIMEOUT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """An empty page for the site at `url`; fails the test if it asked elsewhere or anything went wrong in it.

    That is an error of the page or in its console, where violations of its policy are told too, or a request
    that failed. A page that answers with an error by itself is none.
    """
    faults: list[str] = []
    context = browser.new_context(base_url=url, **options)
    context.set_default_timeout(_TIMEOUT)
    _watch(context, url, faults)
    try:
        yield context.new_page()
    finally:
        context.close()
    assert not faults, "\n".join(faults)


def _watch(context: BrowserContext, url: str, faults: list[str]) -> None:
    def console(message: ConsoleMessage) -> None:
        # A status is looked at below.
        if message.type == "error" and "responded with a status of" not in message.text:
            faults.append(f"console: {message.text}")

    def request(request: Request) -> None:
        if not request.url.startswith((f"{url}/", "data:")):
            faults.append(f"elsewhere: {request.url}")

    def response(response: Response) -> None:
        if response.status >= 400 and not response.request.is_navigation_request():
            faults.append(f"{response.status}: {response.url}")

    context.on("console", console)
    context.on("weberror", lambda error: faults.append(f"error: {error.error}"))
    context.on("request", request)
    context.on("response", response)
    context.on("requestfailed", lambda request: faults.append(f"{request.failure}: {request.url}"))


def width(page: Page) -> int:
    """Of what there is to see, in CSS pixels; more than the window's means scrolling sideways."""
    return int(page.evaluate("document.documentElement.scrollWidth"))
