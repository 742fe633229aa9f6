"""Who looks after a thread that is held up: only then, never beside it, and what goes wrong is its own."""

import threading
from collections.abc import Callable

import pytest

from flowlib.execution import lookout
from flowlib.execution.lookout import Lookout, Watch

PATIENCE_S = 60.0


def test_only_who_stays_away_is_looked_after() -> None:
    """At the same call twice in a row; and again for as long as it is there."""
    done: list[int] = []
    out = Lookout(lambda: done.append(1))

    out.look()
    assert done == []
    out.leave()
    out.look()  # it may have left just now
    assert done == []
    out.look()
    out.look()
    assert done == [1, 1]
    out.come_back()
    out.look()
    out.leave()
    out.look()
    assert done == [1, 1]
    out.look()
    assert done == [1, 1, 1]
    out.close()
    out.look()
    assert done == [1, 1, 1]


def test_what_goes_wrong_meanwhile_is_the_owner_s() -> None:
    """It is raised once, when the owner comes back; until then nothing more is tried."""
    tried: list[int] = []

    def fail() -> None:
        tried.append(1)
        raise ValueError("here")

    out = Lookout(fail)
    out.leave()
    for _ in range(4):
        out.look()
    with pytest.raises(ValueError, match="here"):
        out.come_back()
    assert tried == [1]
    with out.away():
        pass
    out.close()


def test_the_owner_comes_back_when_it_is_looked_after_no_more() -> None:
    """Never do both at once."""
    order: list[str] = []
    is_inside, may_end = threading.Event(), threading.Event()

    def look_after() -> None:
        is_inside.set()
        may_end.wait(PATIENCE_S)
        order.append("looked after")

    out = Lookout(look_after)
    out.leave()
    out.look()
    thread = threading.Thread(target=out.look)
    thread.start()
    assert is_inside.wait(PATIENCE_S)
    assert out.guard.locked()
    may_end.set()
    out.come_back()
    order.append("back")
    thread.join()

    assert order == ["looked after", "back"]
    out.close()


def test_the_thread_ends_when_it_has_nothing_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """And another one starts for the next owner."""
    monkeypatch.setattr(lookout, "_LINGER_S", 0.001)
    monkeypatch.setattr(lookout, "_LOOK_S", 0.001)
    watch, looked = Watch(), [threading.Event(), threading.Event()]
    threads: list[threading.Thread] = []

    def look_after(number: int) -> None:
        threads.append(threading.current_thread())
        looked[number].set()

    for number, is_looked_at in enumerate(looked):
        out = Lookout(lambda number=number: look_after(number))
        out._is_watched = True
        watch.add(out)
        out.leave()
        assert is_looked_at.wait(PATIENCE_S)
        out.come_back()
        watch.discard(out)
        threads[-1].join(PATIENCE_S)
        assert not threads[-1].is_alive()

    assert len({*threads}) == 2


def test_a_forked_child_looks_out_for_itself(in_child: Callable[[Callable[[], object]], int]) -> None:
    """The parent's thread is not there."""
    before = lookout._shared.watch

    def child() -> None:
        assert lookout._shared.watch is not before
        assert lookout._shared.watch._lookouts == {}

    assert in_child(child) == 0
