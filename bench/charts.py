"""A chart for each question: the middle of the rounds as a bar, the lowest and the highest as a line."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.records import Record
from bench.spread import Spread

_OURS, _OTHERS = "#2f6f9f", "#b8b8b8"


def draw(record: Record, folder: Path) -> Path:
    """Alike for the same figures, so that a repository sees what changed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.question}.svg"
    finding = record.finding
    panels = [_panel(finding.figures, begins) for begins in finding.panels or [""]]
    heights = [len(panel) for panel in panels]
    with mpl.rc_context({"svg.hashsalt": record.question, "font.size": 9}):
        figure = Figure(figsize=(7.5, 0.6 * len(panels) + 0.32 * sum(heights)), layout="constrained")
        grid = figure.subplots(len(panels), squeeze=False, height_ratios=heights)
        for axes, panel in zip(grid.flat, panels, strict=True):
            _bars(axes, panel)
        grid.flat[-1].set_xlabel(finding.unit)
        figure.savefig(path, metadata={"Date": None})
    return path


def _panel(figures: dict[str, Spread], begins: str) -> dict[str, Spread]:
    return {name: found for name, found in figures.items() if name.startswith(begins)}


def _bars(axes: Axes, panel: dict[str, Spread]) -> None:
    medians = [found.median for found in panel.values()]
    below = [found.median - found.low for found in panel.values()]
    above = [found.high - found.median for found in panel.values()]
    has_peers = len({_is_ours(name) for name in panel}) > 1
    colours = [_OTHERS if has_peers and not _is_ours(name) else _OURS for name in panel]
    axes.barh(list(panel), medians, xerr=[below, above], color=colours, ecolor="#404040", capsize=2)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)


def _is_ours(name: str) -> bool:
    return name.startswith("usersvc")
