"""Steps that notice a login from a device that an account is new to. They take the caller's transaction."""

import re
from datetime import datetime, timedelta

from usersvc.core import Core, Tx
from usersvc.repositories.sessions import Session
from usersvc.repositories.users import User
from usersvc.services import _limits, _mails
from usersvc.services.actor import Actor

KNOWN_FOR = timedelta(days=90)
REVOCABLE_FOR = timedelta(days=7)

# The first that stands in a User-Agent: each names those that it descends from, too.
_BROWSERS = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "SamsungBrowser": "Samsung Internet",
    "FxiOS": "Firefox",
    "Firefox": "Firefox",
    "CriOS": "Chrome",
    "Chromium": "Chromium",
    "Chrome": "Chrome",
    "Safari": "Safari",
}
_SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "Macintosh": "macOS",
    "Mac OS X": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}
# A program's name, and nothing that a reader of mail could make a link of.
_PROGRAM = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_UNKNOWN = "unknown"
_SEEN_AGAIN_AFTER = timedelta(days=1)


def notice(
    core: Core, tx: Tx, user: User, session: Session, actor: Actor, *, last_login_at: datetime | None
) -> None:
    """Mail an alert with a link that undoes this login, where it is from a device not seen for so long.

    Never of the first login of an account, nor of its first one since devices are remembered.
    """
    if not core.settings.mail.login_alerts:
        return
    device = _device(actor.user_agent)
    digest = _limits.key_of(core, "known device", *device, actor.network or "")
    since = tx.now - KNOWN_FOR
    any_seen, seen = tx.known_devices.seen(user.id, digest, since=since)
    begins = last_login_at is None or (any_seen is None and last_login_at >= since)
    if seen is None and not begins and not _alert(core, tx, user, session, actor):
        return  # Not known before its owner was told.
    if seen is None or tx.now - seen >= _SEEN_AGAIN_AFTER:
        tx.known_devices.remember(user.id, digest, at=tx.now)


def in_words(user_agent: str | None) -> str:
    """`Firefox (Linux)`, a word of no language; empty where it is unknown.

    Without what changes by itself, and without anything that a stranger wrote.
    """
    browser, system = _device(user_agent)
    if browser == _UNKNOWN:
        return system
    return f"{browser} ({system})" if system else browser


def _alert(core: Core, tx: Tx, user: User, session: Session, actor: Actor) -> bool:
    if not _limits.may_alert(core, tx, user.id):
        return False
    link = _mails.issue_link(core, tx, user, "login_revoke", REVOCABLE_FOR, subject_id=session.id)
    data = {
        "device": in_words(actor.user_agent),
        "ip": actor.ip or "",
        "logged_in_at": f"{tx.now:%Y-%m-%d %H:%M} UTC",
    }
    _mails.queue_mail(
        core, tx, "new_login", address=user.email, user_id=user.id, link_token_id=link.id, data=data
    )
    return True


def _device(user_agent: str | None) -> tuple[str, str]:
    """The family of the browser and the system, without versions, which change with every update."""
    text = user_agent or ""
    system = next((name for sign, name in _SYSTEMS.items() if sign in text), "")
    browser = next((name for sign, name in _BROWSERS.items() if sign in text), "")
    if not browser:
        found = _PROGRAM.match(text)
        browser = found[0] if found and found[0] != "Mozilla" else _UNKNOWN
    return browser, system
