"""Who is measured: something that is prepared once, served many times, and asked by somebody logged in."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from bench import environments
from bench.ceilings import hammer
from bench.serving import Served, serving
from bench.spread import alternating
from tests.processes import free_port

EMAIL, PASSWORD = "bench@example.org", "zebra quilt 41 lamp"
COST = 12
"""Of bcrypt, for whoever hashes: the default of usersvc."""
# What the ASGI servers of all run with, as usersvc does.
UVICORN = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "error"]


class Contender(ABC):
    """One way to answer `GET /users/me`, with a folder of its own."""

    name: ClassVar[str]
    me: ClassVar[str]
    ready: ClassVar[str] = "/"

    def __init__(self, folder: Path) -> None:
        self.folder = folder / type(self).__name__
        self.folder.mkdir(parents=True)

    @abstractmethod
    def prepare(self) -> None:
        """Whatever the first start needs."""

    @abstractmethod
    def command(self, port: int) -> list[str]: ...

    def environ(self, port: int) -> dict[str, str]:
        del port
        return {}

    @abstractmethod
    def headers(self, port: int) -> dict[str, str]:
        """What somebody sends who has just logged in there."""

    @abstractmethod
    def versions(self) -> dict[str, str]: ...

    def shown_versions(self) -> str:
        return ", ".join(f"{name} {version}" for name, version in self.versions().items())

    @contextmanager
    def serving(self) -> Iterator[Served]:
        port = free_port()
        with serving(
            self.command(port),
            environ=self.environ(port),
            folder=self.folder,
            port=port,
            ready=self.ready,
        ) as served:
            yield served


class PythonPeer(Contender):
    """Its app lies in `bench/peers/NAME/`, its packages in an environment of their own."""

    package: ClassVar[str]

    def prepare(self) -> None:
        environments.install_python(self.package)

    @property
    def programs(self) -> Path:
        return environments.place_of(self.package) / "bin"

    @property
    def source(self) -> Path:
        return environments.source_of(self.package)

    def command(self, port: int) -> list[str]:
        uvicorn = [str(self.programs / "uvicorn"), "app:app", "--app-dir", str(self.source)]
        return [*uvicorn, "--port", str(port), *UVICORN]

    def versions(self) -> dict[str, str]:
        return environments.python_versions(self.package)


@dataclass
class Rates:
    """Of one contender, round by round."""

    rates: list[float] = field(default_factory=list)
    """Good answers a second."""
    costs: list[float] = field(default_factory=list)
    """Milliseconds of a core that the server takes for one; steadier than the rate where others are busy."""


def rates_of_me(contenders: Sequence[Contender], *, rounds: int, seconds: float) -> dict[str, Rates]:
    """`GET /users/me` of each, started anew each round, in turn."""
    by_name = {contender.name: contender for contender in contenders}
    found = {name: Rates() for name in by_name}
    for name in alternating(list(by_name), rounds):
        contender = by_name[name]
        with contender.serving() as served:
            headers = contender.headers(served.port)
            hammer(served.port, contender.me, headers=headers, seconds=1)
            before = served.busy_seconds()
            ceiling = hammer(served.port, contender.me, headers=headers, seconds=seconds)
            found[name].costs.append((served.busy_seconds() - before) * 1000 / ceiling.asked)
            found[name].rates.append(ceiling.rate)
    return found


def own_versions(*packages: str) -> dict[str, str]:
    """Of the environment that usersvc runs in."""
    return environments.versions_in(Path(sys.executable), packages)
