"""Bare FastAPI: what the framework leaves for everybody."""

from typing import ClassVar

from bench.contender import PythonPeer


class Bare(PythonPeer):
    name: ClassVar[str] = "bare FastAPI"
    package: ClassVar[str] = "bare"
    me: ClassVar[str] = "/users/me"
    ready: ClassVar[str] = "/users/me"

    def headers(self, port: int) -> dict[str, str]:
        """It looks at no token, and is sent none."""
        del port
        return {}
