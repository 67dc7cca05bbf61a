"""The peers' packages, each peer's in a folder of its own, installed where they are missing."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_SAY_VERSIONS = """
import importlib.metadata, json, platform, sys
found = {name: importlib.metadata.version(name) for name in sys.argv[1:]}
print(json.dumps({"python": platform.python_version(), **found}))
"""


def place_of(peer: str) -> Path:
    return _ROOT / ".venv-bench" / peer


def source_of(peer: str) -> Path:
    return Path(__file__).parent / "peers" / peer


def install_python(peer: str) -> None:
    """What its `requirements.txt` says; again where that has changed."""
    wanted = (source_of(peer) / "requirements.txt").read_text(encoding="utf-8")
    uv = str(Path(sys.executable).with_name("uv"))
    python = place_of(peer) / "bin" / "python"
    make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place_of(peer))]
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
    _once(peer, wanted, [make, [*install, *_listed(wanted)]])


def install_node(peer: str) -> None:
    """What its `packages.txt` says."""
    wanted = (source_of(peer) / "packages.txt").read_text(encoding="utf-8")
    quiet = ["--no-package-lock", "--no-audit", "--no-fund", "--silent"]
    _once(peer, wanted, [["npm", "install", "--prefix", str(place_of(peer)), *quiet, *_listed(wanted)]])


def _once(peer: str, wanted: str, commands: list[list[str]]) -> None:
    done = place_of(peer) / "installed.txt"
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return
    place_of(peer).mkdir(parents=True, exist_ok=True)
    for command in commands:
        subprocess.run(command, check=True)
    done.write_text(wanted, encoding="utf-8")


def python_versions(peer: str) -> dict[str, str]:
    wanted = (source_of(peer) / "requirements.txt").read_text(encoding="utf-8")
    names = [line.partition("==")[0].partition("[")[0] for line in _listed(wanted)]
    return versions_in(place_of(peer) / "bin" / "python", names)


def versions_in(python: Path, packages: Iterable[str]) -> dict[str, str]:
    command = [str(python), "-c", _SAY_VERSIONS, *packages]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def node_versions(peer: str) -> dict[str, str]:
    wanted = (source_of(peer) / "packages.txt").read_text(encoding="utf-8")
    node = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True)
    return {"node": node.stdout.strip(), **dict(line.rsplit("@", 1) for line in _listed(wanted))}


def _listed(wanted: str) -> list[str]:
    return [line for line in wanted.splitlines() if line and not line.startswith("#")]
