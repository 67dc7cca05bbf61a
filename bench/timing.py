"""Whether the time of an answer tells that an address is known: login, registration, forgot, resend.

Asks a real `usersvc serve` about known and unknown addresses in turn, SAMPLES of each, and prints the
medians and how often the known one took longer (0.5 where nothing can be told). Exits with 1 where that is
beyond what chance does in one of a thousand runs (the normal approximation of the Mann-Whitney U test).

    python -m bench.timing
"""

import asyncio
import math
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.contender import PASSWORD
from bench.load import Connection
from bench.service import serving_accounts

SAMPLES = 200
# Two-sided, one in a thousand.
MOST_DEVIATIONS = 3.29
ROUTES: dict[str, Callable[[str], dict[str, Any]]] = {
    "/auth/login": lambda email: {"email": email, "password": "wrong password 123"},
    "/users": lambda email: {"email": email, "password": PASSWORD},
    "/auth/forgot-password": lambda email: {"email": email},
    "/auth/resend-activation": lambda email: {"email": email},
}


async def _ask(port: int, number: int, path: str, body: dict[str, Any]) -> float:
    connection = Connection(port, number)
    await connection.open()
    began = time.perf_counter()
    status, _ = await connection.ask("POST", path, body=body)
    waited = time.perf_counter() - began
    connection.close()
    if status not in (202, 401):
        raise RuntimeError(f"{path} answered {status}")
    return waited


async def _samples(port: int, path: str, known: list[str]) -> tuple[list[float], list[float]]:
    """Of known and of unknown addresses, each in turn first."""
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(SAMPLES):
        emails = (known[number % len(known)], f"{secrets.token_hex(4)}@example.org")
        for which in (0, 1) if number % 2 else (1, 0):
            network = secrets.randbelow(0xFFFF)
            found[which].append(await _ask(port, network, path, ROUTES[path](emails[which])))
    return found


def longer(known: list[float], unknown: list[float]) -> float:
    """How often one of the first is longer than one of the second."""
    above = sum((one > other) + (one == other) / 2 for one in known for other in unknown)
    return above / (len(known) * len(unknown))


def deviations(share: float) -> float:
    """How many standard deviations this share of 0.5 is away, were both alike."""
    return abs(share - 0.5) / math.sqrt((2 * SAMPLES + 1) / (12 * SAMPLES**2))


def main() -> None:
    told = []
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            "USERSVC_SERVER__DATA_DIR": folder,
            "USERSVC_SERVER__SECRET_KEY": secrets.token_hex(),
            # So that none is refused: a pause would be told alike for both, and hide the rest.
            "USERSVC_THROTTLE__ENABLED": "false",
        }
        with serving_accounts(environ, folder=Path(folder), processes=1, accounts=SAMPLES) as port:
            known = [f"b{number}@example.org" for number in range(SAMPLES)]
            print(f"{'route':<26}{'known ms':>9}{'unknown ms':>11}  known longer  deviations")
            for path in ROUTES:
                samples = asyncio.run(_samples(port, path, known))
                share = longer(*samples)
                medians = [statistics.median(waits) * 1000 for waits in samples]
                print(
                    f"{path:<26}{medians[0]:>9.1f}{medians[1]:>11.1f}{share:>14.3f}{deviations(share):>12.1f}"
                )
                if deviations(share) > MOST_DEVIATIONS:
                    told.append(path)
    if told:
        sys.exit(f"Time tells known addresses from unknown ones: {', '.join(told)}")


if __name__ == "__main__":
    main()
