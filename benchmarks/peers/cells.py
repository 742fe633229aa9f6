"""What is measured, in which process: sessions of cells.

A session is one new process for each peer and round. Its cells run in this order; those with the same `place` share a
directory with earlier sessions of the round, which makes "warm" mean: in another process, after the cold one.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One measurement: what it is called, the function that does it, its size, and which directory it uses.

    With `again`, it makes sense only where an earlier session came to its end.
    """

    label: str
    workload: str
    n: int
    place: str = ""
    again: bool = False

    @property
    def folder(self) -> str:
        return f"{self.place or self.label}-{self.n}".replace(" ", "-")


@dataclass(frozen=True, kw_only=True)
class Session:
    """Cells of one process; before the first one it runs `warm_up`, so that late imports are not counted."""

    name: str
    cells: tuple[Cell, ...]
    warm_up: tuple[str, int] | None = None
    only: tuple[str, ...] = field(default=())  # peers; empty means all


def _cells(label: str, workload: str, *sizes: int, place: str = "") -> tuple[Cell, ...]:
    return tuple(Cell(label=label, workload=workload, n=n, place=place) for n in sizes)


def _again(label: str, workload: str, *sizes: int, place: str) -> tuple[Cell, ...]:
    return tuple(Cell(label=label, workload=workload, n=n, place=place, again=True) for n in sizes)


FLAT = (100, 1_000, 10_000, 100_000)
CACHED = (100, 1_000, 10_000, 100_000)
MODULES = 200
POINTS = (10_000, 100_000)
ALONE = ("flowlib", "floor")

SESSIONS = (
    Session(
        name="uncached",
        warm_up=("flat", 10),
        cells=(
            *_cells("flat", "flat", *FLAT),
            *_cells("chain", "chain", 100, 1_000, 10_000),
            *_cells("layers", "layers", 300, 1_000, 3_000, 10_000),
        ),
    ),
    Session(  # by itself: what it leaves behind would slow down the smaller ones
        name="a million",
        warm_up=("flat", 10),
        cells=_cells("flat", "flat", 1_000_000),
        only=(*ALONE, "pipefunc"),
    ),
    Session(
        name="cold",
        warm_up=("cached", 10),
        cells=(
            *_cells("cached cold", "cached", *CACHED, place="cached"),
            *_cells("chain cold", "chain_cached", 100, 1_000, 10_000, place="chain"),
        ),
    ),
    Session(name="warm", warm_up=("cached", 10), cells=_again("cached warm", "cached", *CACHED, place="cached")),
    Session(name="final", warm_up=("cached", 10), cells=_again("cached final", "final", *CACHED, place="cached")),
    Session(
        name="arrays cold",
        warm_up=("arrays", 2),
        cells=(
            *_cells("arrays cold", "arrays", 100, 1_000, place="arrays"),
            *_cells("array cold", "array", 400, place="array"),
        ),
    ),
    Session(
        name="arrays warm",
        warm_up=("arrays", 2),
        cells=(
            *_again("arrays warm", "arrays", 100, 1_000, place="arrays"),
            *_again("array warm", "array", 400, place="array"),
        ),
    ),
    Session(
        name="parallel",
        warm_up=("waits", 1),
        cells=(*_cells("waits", "waits", 16), *_cells("unbalanced", "unbalanced", 5)),
    ),
    Session(name="process", cells=(*_cells("start up", "start_up", 10), *_cells("ready", "ready", 10)), only=ALONE),
    Session(
        name="memory",
        cells=(*_cells("memory", "memory", 10_000), *_cells("memory of points", "memory_of_points", 10_000)),
        only=ALONE,
    ),
    Session(name="growth", cells=_cells("growth", "growth", 10_000), only=ALONE),
    Session(name="growth, many points", cells=_cells("growth", "growth", 100_000), only=ALONE),
    Session(name="keys cold", cells=_cells("keys cold", "keys", MODULES, place="keys"), only=ALONE),
    Session(name="keys warm", cells=_again("keys warm", "keys", MODULES, place="keys"), only=("flowlib",)),
    Session(
        name="digests",
        warm_up=("digest_small", 10),
        cells=(*_cells("digest small", "digest_small", 10_000), *_cells("frame", "frame", 1_000_000)),
        only=(*ALONE, "joblib", "dask"),
    ),
    Session(
        name="sweep cold",
        warm_up=("sweep", 10),
        cells=_cells("sweep cold", "sweep", *POINTS, place="sweep"),
        only=ALONE,
    ),
    Session(
        name="sweep warm",
        warm_up=("sweep", 10),
        cells=_again("sweep warm", "sweep", *POINTS, place="sweep"),
        only=ALONE,
    ),
    Session(
        name="sweep grown",
        warm_up=("sweep", 10),
        cells=_again("sweep grown", "sweep_grown", *POINTS, place="sweep"),
        only=ALONE,
    ),
    *(
        Session(
            name=f"sweep {reducer}",
            warm_up=(f"sweep_{reducer}", 10),
            cells=_again(f"sweep {reducer}", f"sweep_{reducer}", *POINTS, place="sweep"),
            only=ALONE,
        )
        for reducer in ("best", "mean", "top")
    ),
)
