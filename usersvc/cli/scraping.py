"""What the API processes on this machine count, asked of their `/metrics`.

Never with `server.metrics_token`: they tell it to programs of their own machine without, and whoever
listens on the port while nothing serves there would learn it.
"""

import re
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from usersvc.setting_types import is_loopback, is_wildcard
from usersvc.settings import Settings

_SECONDS = 1.0
_MOST_BYTES = 4 << 20
_SAMPLE = re.compile(r"^(usersvc_[a-z_]+) ([0-9.e+]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Serving:
    """What all API processes do at this moment, and have done since they began."""

    processes: int
    hashing: int
    """Passwords that are being hashed or verified."""
    waiting: int
    """Passwords that wait for their turn."""
    turned_away: int
    """Jobs that found no place in the queue, or no turn in time."""


def scrape(settings: Settings) -> Serving | None:
    """None where nothing of usersvc answers on this machine; within a second or so."""
    host = settings.server.host
    if not is_loopback(host) and not is_wildcard(host):
        return None
    connection = HTTPConnection(
        "127.0.0.1" if is_wildcard(host) else host, settings.server.port, timeout=_SECONDS
    )
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read(_MOST_BYTES).decode("utf-8", "replace") if answer.status == 200 else ""
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
    return _parsed(dict(_SAMPLE.findall(text)))


def _parsed(samples: dict[str, str]) -> Serving | None:
    if "usersvc_api_processes" not in samples:
        return None
    return Serving(
        processes=_number(samples, "usersvc_api_processes"),
        hashing=_number(samples, "usersvc_hashing_running_jobs"),
        waiting=_number(samples, "usersvc_hashing_waiting_jobs"),
        turned_away=_number(samples, "usersvc_hashing_turned_away_total"),
    )


def _number(samples: dict[str, str], name: str) -> int:
    return int(float(samples.get(name, "0")))
