"""Draw what a task costs against how many there are, for flowlib and its peers, from `results.json`.

    python -m benchmarks.plot                # overhead.svg, beside this file

One panel for each way to run the same tasks; both axes are logarithmic; every line is named at its end, in its colour.
Colours are those of Okabe and Ito, which people with any colour vision can tell apart.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import NAMES
from benchmarks.results import Results

HERE = Path(__file__).parent
INK, FAINT, GRID = "#24292f", "#8c959f", "#e6e8eb"
COLOURS = {
    "flowlib": "#0072b2",
    "floor": "#8c959f",
    "futures": "#6e7781",
    "checkpointer": "#d55e00",
    "diskcache": "#009e73",
    "joblib": "#cc79a7",
    "cachau": "#a6761d",
    "cashet": "#56b4e9",
    "pipefunc": "#e69f00",
    "hamilton": "#7b3294",
    "dask": "#d55e00",
    "redun": "#117733",
    "ray": "#009e73",
    "prefect": "#882255",
}
PANELS = (
    ("Nothing kept", "flat"),
    ("Every result kept, first run", "cached cold"),
    ("Found again by a new process", "cached warm"),
)
SHORT = {
    **NAMES,
    "floor": "by hand",
    "futures": "threads",
    "diskcache": "diskcache",
    "joblib": "joblib",
    "dask": "dask",
}
GAP = 0.062
"""Least distance of two names, as a share of the axis."""


def main() -> None:
    """Write overhead.svg."""
    draw(Results.read(HERE / "results.json"), HERE / "overhead.svg")


def draw(results: Results, path: Path) -> None:
    """Draw the picture into a file whose ending says the format."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    settings = {
        "font.family": "sans-serif",
        "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "DejaVu Sans"],
        "font.size": 9,
        "svg.fonttype": "path",
        "svg.hashsalt": "flowlib",
        "text.color": INK,
        "axes.edgecolor": GRID,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
    }
    with mpl.rc_context(settings):
        figure, axes = plt.subplots(1, len(PANELS), figsize=(11.5, 4.5), sharey=True)
        for axis, (title, label) in zip(axes, PANELS, strict=True):
            _prepare(axis, title)
            _draw_lines(axis, results, label)
        _share_limits(axes)
        for axis in axes:
            _name_lines(axis)
        figure.text(0.012, 0.965, "What one task costs beside its own work", fontsize=12.5, fontweight="bold", va="top")
        figure.text(
            0.012,
            0.905,
            "time per task, for a hundred to a million tasks that do not know each other; less is better",
            fontsize=9,
            color=FAINT,
            va="top",
        )
        figure.subplots_adjust(left=0.058, right=0.912, top=0.78, bottom=0.09, wspace=0.345)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=160, facecolor="white")
        plt.close(figure)


def _prepare(axis: Any, title: str) -> None:
    """Make an empty panel: a title, a faint grid, decades with units."""
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_title(title, loc="left", fontsize=10, color=INK, pad=8)
    axis.grid(visible=True, which="major", color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(which="both", length=0, pad=6)
    axis.minorticks_off()
    for side in axis.spines.values():
        side.set_visible(False)


def _draw_lines(axis: Any, results: Results, label: str) -> None:
    """Draw a line for every peer, flowlib last and thickest."""
    for peer in reversed(results.peers()):
        sizes = results.sizes(peer, label)
        each_us = [(results.median(peer, label, n) or 0.0) / n * 1e6 for n in sizes]
        if not sizes:
            continue
        ours = peer == "flowlib"
        axis.plot(
            sizes, each_us, label=peer, color=COLOURS[peer],
            linewidth=3.0 if ours else 1.4, linestyle=(0, (4, 2)) if peer == "floor" else "solid",
            marker="o", markersize=5.5 if ours else 3.2, markeredgecolor="white", markeredgewidth=0.6,
            zorder=5 if ours else 3, solid_capstyle="round", clip_on=False,
        )  # fmt: skip


def _share_limits(axes: Sequence[Any]) -> None:
    """Give all panels one scale, in whole decades, with words for units."""
    lines = [line for axis in axes for line in axis.lines]
    xs = [x for line in lines for x in line.get_xdata()]
    ys = [y for line in lines for y in line.get_ydata()]
    low, high = max(ten for ten in _decades(1e-3, 1e9) if ten <= min(ys)), max(ys) * 1.6
    for axis in axes:
        axis.set_xlim(min(xs) * 0.8, max(xs) * 1.25)
        axis.set_ylim(low, high)
        axis.set_xticks(_decades(min(xs), max(xs)), [_count(n) for n in _decades(min(xs), max(xs))])
        axis.set_yticks(_decades(low, high), [_duration(us) for us in _decades(low, high)])
        axis.minorticks_off()


def _decades(low: float, high: float) -> list[float]:
    return [10.0**power for power in range(-3, 10) if low * 0.99 <= 10.0**power <= high * 1.01]


def _count(n: float) -> str:
    return f"{n / 1e6:g} M" if n >= 1e6 else f"{n / 1e3:g} k" if n >= 1e3 else f"{n:g}"


def _duration(us: float) -> str:
    return f"{us / 1e6:g} s" if us >= 1e6 else f"{us / 1e3:g} ms" if us >= 1e3 else f"{us:g} µs"


def _name_lines(axis: Any) -> None:
    """Write each line's name right of its end; names that would lie on one another move apart."""
    to_share = lambda x, y: axis.transAxes.inverted().transform(axis.transData.transform((x, y)))
    ends = [(line, to_share(line.get_xdata()[-1], line.get_ydata()[-1])) for line in axis.lines]
    for (line, end), height in zip(ends, spread([end[1] for _, end in ends], GAP), strict=True):
        ours = line.get_label() == "flowlib"
        axis.annotate(
            SHORT.get(line.get_label(), line.get_label()),
            xy=end, xycoords="axes fraction", xytext=(1.03, height), textcoords="axes fraction",
            color=line.get_color(), fontsize=9.5 if ours else 8.5, fontweight="bold" if ours else "normal",
            va="center", ha="left", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": line.get_color(), "linewidth": 0.5, "alpha": 0.45, "shrinkA": 1, "shrinkB": 3},
        )  # fmt: skip


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Return heights in the same order of size that are at least `gap` apart, each moved as little as its group allows.

    >>> [round(height, 2) for height in spread([0.5, 0.5, 0.9], 0.1)]
    [0.45, 0.55, 0.9]
    """
    order = sorted(range(len(heights)), key=heights.__getitem__)
    groups: list[list[int]] = []
    for index in order:
        groups.append([index])
        while len(groups) > 1 and _bottom(groups[-1], heights, gap) - _top(groups[-2], heights, gap) < gap - 1e-9:
            groups[-2:] = [groups[-2] + groups[-1]]
    moved = list(heights)
    for group in groups:
        for place, index in enumerate(group):
            moved[index] = _bottom(group, heights, gap) + place * gap
    return moved


def _bottom(group: list[int], heights: Sequence[float], gap: float) -> float:
    return sum(heights[index] for index in group) / len(group) - gap * (len(group) - 1) / 2


def _top(group: list[int], heights: Sequence[float], gap: float) -> float:
    return _bottom(group, heights, gap) + gap * (len(group) - 1)


if __name__ == "__main__":
    main()
