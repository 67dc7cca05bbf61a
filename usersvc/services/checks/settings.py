"""Settings that are right each by itself and yet leave something open."""

import ipaddress
from urllib.parse import urlsplit

from usersvc.services.checks.finding import Verdict, failed, ok, warning
from usersvc.setting_types import is_loopback
from usersvc.settings import Settings


def wrong(mistakes: list[str]) -> list[Verdict]:
    return [failed(mistake, "Mend it there; docs/settings.md lists every setting.") for mistake in mistakes]


def look(settings: Settings) -> list[Verdict]:
    """Every warning, or that all is well."""
    return _warnings(settings) or [ok(f"valid ({settings.file or 'no file; defaults and variables'})")]


def _warnings(settings: Settings) -> list[Verdict]:
    url, mail = settings.public_url, settings.mail
    found = []
    if url.startswith("http://") and not is_loopback(urlsplit(url).hostname or ""):
        found.append(
            warning(
                f"server.public_url is {url}: passwords and tokens travel in the clear",
                "Put a proxy with TLS in front, and set server.public_url to its https address.",
            )
        )
    if url.startswith("https://") and mail.transport != "smtp":
        found.append(
            warning(
                f"mail.transport is {mail.transport}: nobody gets a mail",
                'Set mail.transport = "smtp" and mail.smtp_host.',
            )
        )
    if not settings.throttle.enabled:
        found.append(
            warning(
                "throttle.enabled is false: passwords can be guessed without end",
                "Set throttle.enabled = true.",
            )
        )
    return found


def lacks_proxies(settings: Settings) -> bool:
    """Somebody does TLS for us, and we do not know who."""
    return settings.public_url.startswith("https://") and not settings.server.trusted_proxies


def proxies(settings: Settings) -> Verdict:
    trusted = settings.server.trusted_proxies
    if lacks_proxies(settings):
        return warning(
            "server.public_url is https, and no proxy is trusted: the limits count all clients as one",
            "Set server.trusted_proxies to the addresses of the proxy that does TLS.",
        )
    if any(_is_everybody(part) for part in trusted.split(",")):
        return warning(
            f"server.trusted_proxies is {trusted}: everybody can claim any address",
            "Name the addresses of the proxies alone.",
        )
    return ok(f"trusted: {trusted}" if trusted else "none are trusted, none are needed")


def _is_everybody(part: str) -> bool:
    return bool(part.strip()) and ipaddress.ip_network(part.strip()).prefixlen == 0
