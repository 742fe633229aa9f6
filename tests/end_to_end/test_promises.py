"""Guarantees of the README that no single part can keep: looking is safe, and nothing goes unless it was asked to."""

from pathlib import Path

import pytest

import flowlib as fl
from flowlib.cli.main import main as flowlib_command
from flowlib.testing import EventLog

WITNESS = Path("unpickled")


def come_back(n: int) -> "Tracer":
    """Leave a trace: what unpickling a `Tracer` calls."""
    WITNESS.touch()
    return Tracer(n)


class Tracer:
    """An object that is kept as a pickle and notices when it is loaded."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __reduce__(self) -> object:
        return come_back, (self.n,)


@fl.task
def make(n: int) -> Tracer:
    return Tracer(n)


@fl.task
def read(made: Tracer) -> int:
    return made.n


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a pickle, and forget that storing it tried whether it loads."""
    fl.run(make(3), executor="inline")
    WITNESS.unlink(missing_ok=True)


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    "words",
    ["ls", "size", "verify", "repair", "gc --older-than 30d --dry-run", "rm make --dry-run", "gc --unreachable"],
)
def test_looking_after_a_cache_unpickles_nothing(words: str) -> None:
    """Listing, measuring, checking and clearing a cache read records and bytes, never values."""
    assert flowlib_command(["cache", *words.split()]) == 0

    assert not WITNESS.exists()


@pytest.mark.usefixtures("kept")
def test_plan_and_why_unpickle_nothing() -> None:
    """A plan knows inputs by their digests; only a run that needs a value loads it."""
    assert "1 to run" in str(fl.plan(read(make(3))))
    assert "would run" in str(fl.why(read(make(3))))

    assert not WITNESS.exists()
    assert fl.run(read(make(3)), executor="inline") == 3
    assert WITNESS.exists()


def test_results_stay_when_others_come() -> None:
    """Edits, expiry and forced runs set results aside and remove none: going back hits."""

    @fl.task(ttl=1e-9)
    def brief(n: int) -> bytes:
        return bytes(10_000 + n)

    @fl.task
    def lasting(n: int) -> bytes:
        return bytes(20_000 + n)

    versions = [lasting.options(version=str(version))(1) for version in range(3)]
    fl.run([brief(1), *versions])
    before = {path for path in Path(".flowlib/blobs").rglob("*") if path.is_file()}
    log = EventLog()
    fl.run([brief(2), lasting(2)], force=["lasting"])
    fl.run(versions, observers=[log])

    assert before
    assert before <= set(Path(".flowlib/blobs").rglob("*"))
    assert log.ran == []
