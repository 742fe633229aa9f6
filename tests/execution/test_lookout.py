"""Who looks after a thread that is held up: only then, never beside it, and what goes wrong is its own."""

import threading
from collections.abc import Callable

import pytest

from flowlib.execution import lookout
from flowlib.execution.lookout import Lookout, Watch

PATIENCE_S = 60.0


class Blind(Watch):
    """Looks at nobody, so that a test can do that by hand."""

    def add(self, lookout: Lookout) -> None:
        """Do nothing."""


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody look but the test."""
    monkeypatch.setattr(lookout._shared, "watch", Blind())


def test_only_who_stays_away_is_looked_after(by_hand: None) -> None:
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


def test_what_goes_wrong_meanwhile_is_the_owner_s(by_hand: None) -> None:
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


def test_the_owner_comes_back_when_it_is_looked_after_no_more(by_hand: None) -> None:
    """Never do both at once."""
    order: list[str] = []
    is_inside, may_end = threading.Event(), threading.Event()

    def look_after() -> None:
        is_inside.set()
        assert may_end.wait(PATIENCE_S)
        order.append("looked after")

    def come_back() -> None:
        out.come_back()
        order.append("back")

    out = Lookout(look_after)
    out.leave()
    out.look()
    looking, coming = threading.Thread(target=out.look), threading.Thread(target=come_back)
    looking.start()
    assert is_inside.wait(PATIENCE_S)
    coming.start()
    coming.join(0.05)
    assert coming.is_alive()
    may_end.set()
    looking.join(PATIENCE_S)
    coming.join(PATIENCE_S)

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
