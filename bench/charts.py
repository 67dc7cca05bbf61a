"""A chart for each question: the middle of the rounds as a bar, the lowest and the highest as a line."""

from pathlib import Path

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

from bench.records import Record

_OURS, _OTHERS = "#2f6f9f", "#b8b8b8"


def draw(record: Record, folder: Path) -> Path:
    """Alike for the same figures, so that a repository sees what changed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.question}.svg"
    figures = record.finding.figures
    names, found = list(figures), list(figures.values())
    with mpl.rc_context({"svg.hashsalt": record.question, "font.size": 9}):
        figure, axes = plt.subplots(figsize=(7.5, 0.6 + 0.32 * len(names)), layout="constrained")
        medians = [each.median for each in found]
        errors = [[each.median - each.low for each in found], [each.high - each.median for each in found]]
        peers = any(not _is_ours(name) for name in names) and any(map(_is_ours, names))
        colours = [_OURS if _is_ours(name) or not peers else _OTHERS for name in names]
        axes.barh(names, medians, xerr=errors, color=colours, ecolor="#404040", capsize=2)
        axes.invert_yaxis()
        axes.set_xlabel(record.finding.unit)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
    return path


def _is_ours(name: str) -> bool:
    return name.startswith("usersvc")
