"""What was found, kept beside the program as JSON: one file for each question, the newest run."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.finding import Finding, Run
from bench.spread import Spread

FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Machine:
    cores: int
    processor: str
    system: str
    python: str

    @classmethod
    def this(cls) -> "Machine":
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in told if line.startswith("model name")]
        processor = names[0] if names else platform.machine()
        return cls(os.cpu_count() or 1, processor, platform.release(), platform.python_version())


@dataclass(frozen=True)
class Record:
    question: str
    taken_at: datetime
    machine: Machine
    rounds: int
    seconds: float
    busy: float
    """What else wanted a core when it began: the load average of the last minute."""
    finding: Finding

    @classmethod
    def of(cls, question: str, finding: Finding, run: Run, *, busy: float) -> "Record":
        now = datetime.now(UTC)
        return cls(question, now, Machine.this(), run.rounds, run.seconds, busy, finding)


def save(record: Record, folder: Path = FOLDER) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.question}.json"
    path.write_text(json.dumps(asdict(record), default=str, indent=2) + "\n", encoding="utf-8")
    return path


def saved(question: str, folder: Path = FOLDER) -> Record | None:
    """None where it was never asked."""
    path = folder / f"{question}.json"
    return _record(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def _record(told: dict[str, Any]) -> Record:
    finding = told["finding"]
    for kind in ("figures", "reached"):
        finding[kind] = {name: Spread(**values) for name, values in finding[kind].items()}
    machine = Machine(**told["machine"])
    taken_at = datetime.fromisoformat(told["taken_at"])
    return Record(**told | {"finding": Finding(**finding), "machine": machine, "taken_at": taken_at})
