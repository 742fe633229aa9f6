"""What flowlib's speed is held to: ratios within one run, flowlib's median over another's, and a few sizes in memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.results import Results

What = tuple[str, str, int]
"""Who, which cell, which size."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One promise: what is compared, how, and the highest figure that keeps it."""

    workload: str
    text: str
    at_most: float
    found: Callable[[Results], float | None]
    unit: str = "x"

    def falls_short_at(self, results: Results) -> int | None:
        """Return the size that was measured instead of the one that was meant; None if it was that one."""
        if not isinstance(self.found, _Over):
            return None
        at = self.found.at(results)
        return None if at == self.found.n else at

    def by_processor(self, results: Results) -> float | None:
        """Return the ratio of processor seconds, which other work on the machine disturbs least; None where it says nothing."""
        return (
            self.found(results, "cpu") if isinstance(self.found, _Over) and self.workload not in ("W6", "W7") else None
        )

    def is_met(self, results: Results) -> bool | None:
        """Say whether it is kept; None if it was not measured."""
        figure = self.found(results)
        return None if figure is None else figure <= self.at_most


@dataclass(frozen=True)
class _Over:
    """The ratio of flowlib's median to a peer's at a size, or at the largest size below it that both were measured at."""

    ours: str
    n: int
    peer: str
    theirs: str

    def at(self, results: Results) -> int | None:
        """Return that size."""
        both = set(results.sizes(self.peer, self.theirs)) & set(results.sizes("flowlib", self.ours))
        return max((size for size in both if size <= self.n), default=None)

    def __call__(self, results: Results, what: str = "seconds") -> float | None:
        at = self.at(results)
        if at is None:
            return None
        above, below = results.median("flowlib", self.ours, at, what), results.median(self.peer, self.theirs, at, what)
        return None if above is None or below is None else above / below


def _over(ours: str, n: int, peer: str, theirs: str = "") -> _Over:
    return _Over(ours, n, peer, theirs or ours)


def _sum_over(parts: list[tuple[str, float]], whole: str, n: int) -> Callable[[Results], float | None]:
    """Return one of flowlib's medians over a weighted sum of others."""

    def ratio(results: Results) -> float | None:
        above = results.median("flowlib", whole, n)
        below = [(results.median("flowlib", label, n), weight) for label, weight in parts]
        if above is None or any(each is None for each, _ in below):
            return None
        return above / sum(each * weight for each, weight in below if each is not None)

    return ratio


def _added(label: str, base: str, n: int) -> Callable[[Results], float | None]:
    """Return by how many microseconds each of n points is dearer."""

    def added(results: Results) -> float | None:
        above, below = results.median("flowlib", label, n), results.median("flowlib", base, n)
        return None if above is None or below is None else max(above - below, 0.0) / n * 1e6

    return added


def _growth(label: str, n: int, what: str, scale: float) -> Callable[[Results], float | None]:
    def grown(results: Results) -> float | None:
        found = results.median("flowlib", label, n, what)
        return None if found is None else found / scale

    return grown


def _times(small: int, large: int) -> Callable[[Results], float | None]:
    def ratio(results: Results) -> float | None:
        above, below = results.median("flowlib", "flat", large), results.median("flowlib", "flat", small)
        return None if above is None or below is None else above / below

    return ratio


def _bound(label: str, n: int, seconds: float) -> Callable[[Results], float | None]:
    def ratio(results: Results) -> float | None:
        found = results.median("flowlib", label, n)
        return None if found is None else found / seconds

    return ratio


def _closest(label: str, n: int) -> Callable[[Results], float | None]:
    def ratio(results: Results) -> float | None:
        ours = results.median("flowlib", label, n)
        others = [results.median(peer, label, n) for peer in results.peers() if peer not in ("flowlib", "futures")]
        found = [each for each in others if each is not None]
        return None if ours is None or not found else ours / min(found)

    return ratio


def all_goals() -> Iterator[Goal]:
    """Give every goal, in the order of the workloads."""
    yield from _uncached()
    yield from _cached()
    yield from _large()
    yield from _rest()


def _uncached() -> Iterator[Goal]:
    n = 10_000
    yield Goal(workload="W1", text="a loop over graphlib", at_most=2, found=_over("flat", n, "floor"))
    yield Goal(workload="W1", text="pipefunc", at_most=1 / 3, found=_over("flat", n, "pipefunc"))
    yield Goal(workload="W1", text="dask.delayed", at_most=1 / 200, found=_over("flat", n, "dask"))
    yield Goal(workload="W1", text="a million, to 100,000", at_most=11, found=_times(100_000, 1_000_000))
    yield Goal(workload="W2", text="a loop over graphlib", at_most=3, found=_over("chain", n, "floor"))
    yield Goal(
        workload="W2", text="cold, a hop to a thread", at_most=1 / 3, found=_over("chain cold", n, "futures", "chain")
    )
    yield Goal(workload="W3", text="a loop over graphlib", at_most=2, found=_over("layers", n, "floor"))
    yield Goal(workload="W3", text="dask.delayed", at_most=1 / 400, found=_over("layers", n, "dask"))


def _cached() -> Iterator[Goal]:
    n = 10_000
    for peer, share in (("checkpointer", 3), ("diskcache", 6), ("joblib", 20), ("pipefunc", 8)):
        yield Goal(workload="W4 cold", text=_named(peer), at_most=1 / share, found=_over("cached cold", n, peer))
    for peer, share in (("checkpointer", 4), ("joblib", 10), ("pipefunc", 7)):
        yield Goal(workload="W4 warm", text=_named(peer), at_most=1 / share, found=_over("cached warm", n, peer))
    found = _over("cached final", n, "diskcache", "cached warm")
    yield Goal(workload="W4 final", text=_named("diskcache"), at_most=1 / 10, found=found)


def _large() -> Iterator[Goal]:
    n, mb = 1_000, 400
    yield Goal(workload="W4big cold", text="checkpointer", at_most=1 / 2, found=_over("arrays cold", n, "checkpointer"))
    yield Goal(
        workload="W4big cold", text="hash, save, sync by hand", at_most=1.3, found=_over("arrays cold", n, "floor")
    )
    yield Goal(workload="W4big warm", text="cashet", at_most=1 / 20, found=_over("arrays warm", n, "cashet"))
    yield Goal(
        workload="W4big warm", text="growth", at_most=5, found=_growth("arrays warm", n, "grown", 1e6), unit=" MB"
    )
    yield Goal(
        workload="W5 cold", text="hash, save, sync by hand", at_most=1 / 0.7, found=_over("array cold", mb, "floor")
    )
    yield Goal(workload="W5 warm", text="checkpointer", at_most=1 / 50, found=_over("array warm", mb, "checkpointer"))


def _rest() -> Iterator[Goal]:
    n, modules = 10_000, 200
    yield Goal(workload="W6", text="the bound, 16 waits on 8 threads", at_most=1.02, found=_bound("waits", 16, 0.2))
    yield Goal(workload="W6", text="the bound, unbalanced", at_most=1.02, found=_bound("unbalanced", 5, 0.4))
    yield Goal(workload="W6", text="the closest peer, 16 waits", at_most=1.02, found=_closest("waits", 16))
    yield Goal(workload="W6", text="the closest peer, unbalanced", at_most=1.02, found=_closest("unbalanced", 5))
    yield Goal(workload="W7", text="import, to a bare interpreter", at_most=3, found=_over("start up", 10, "floor"))
    found = _over("ready", 10, "floor", "start up")
    yield Goal(
        workload="W7", text="import and first use of task and run, to a bare interpreter", at_most=3, found=found
    )
    yield Goal(workload="W7", text="memory of a node", at_most=600, found=_growth("memory", n, "value", 1), unit=" B")
    found = _growth("memory of points", n, "value", 1)
    yield Goal(workload="W7", text="memory of a point not started", at_most=200, found=found, unit=" B")
    found = _growth("growth", 100_000, "value", 1e6)
    yield Goal(workload="W7", text="growth, 100,000 results of 10 kB", at_most=256, found=found, unit=" MB")
    yield Goal(
        workload="W8", text="unchanged project, to the first time", at_most=0.1,
        found=_sum_over([("keys cold", 1.0)], "keys warm", modules),
    )  # fmt: skip
    yield Goal(
        workload="W8", text="small arguments, to pickle and SHA-256", at_most=3, found=_over("digest small", n, "floor")
    )
    yield Goal(workload="W8", text="frame, to dask's tokenize", at_most=1, found=_over("frame", 1_000_000, "dask"))
    yield Goal(workload="W8", text="frame, to joblib.hash", at_most=1 / 5, found=_over("frame", 1_000_000, "joblib"))
    yield from _sweeps(100_000)
    yield from _sweeps(10_000)


def _sweeps(n: int) -> Iterator[Goal]:
    """Give the goals for a sweep; they were set for 100,000 points."""
    parts = [("sweep warm", 1.0), ("sweep cold", 0.01)]
    grown = _sum_over(parts, "sweep grown", n)
    yield Goal(workload="W9", text=f"{n:,} points grown, to warm and new points", at_most=1.3, found=grown)
    for reducer in ("best", "mean", "top"):
        found = _added(f"sweep {reducer}", "sweep warm", n)
        yield Goal(workload="W9", text=f"{reducer} adds to each of {n:,} points", at_most=3, found=found, unit=" us")


def _named(peer: str) -> str:
    return {"joblib": "joblib.Memory", "diskcache": "diskcache.memoize"}.get(peer, peer)
