"""Slots and pools."""

from flowlib.ids import NodeId
from flowlib.scheduling.limits import ReadyQueue
from flowlib.scheduling.priority import Rank


def queue(slots: int, **pools: int) -> ReadyQueue:
    """Return an empty queue."""
    return ReadyQueue(slots, pools)


def take_all(ready: ReadyQueue) -> list[int]:
    """Take until nothing fits."""
    taken = []
    while (node := ready.take()) is not None:
        taken.append(int(node))
    return taken


def test_the_best_come_first_while_slots_last() -> None:
    """What does not fit stays, in order."""
    ready = queue(2)
    for number in (3, 1, 2):
        ready.push((0.0, float(number), 0, NodeId(number)), None)

    assert take_all(ready) == [1, 2]
    ready.release(NodeId(1))
    assert take_all(ready) == [3]


def test_a_full_pool_lets_others_pass() -> None:
    """A node that waits for its pool holds no slot and stops nobody."""
    ready = queue(3, db=1)
    for number, pool in ((1, "db"), (2, "db"), (3, None)):
        ready.push((0.0, 0.0, 0, NodeId(number)), pool)

    assert take_all(ready) == [1, 3]
    ready.release(NodeId(3))
    assert take_all(ready) == []
    ready.release(NodeId(1))
    assert take_all(ready) == [2]


def test_a_freed_pool_gives_its_slot_to_the_best_even_if_it_came_late() -> None:
    """Being parked first is no privilege."""
    ready = queue(5, db=1)
    for number in (5, 6, 7):
        ready.push((0.0, 0.0, 0, NodeId(number)), "db")
    assert take_all(ready) == [5]

    ready.push((0.0, 0.0, 0, NodeId(1)), "db")
    order = []
    for node in (5, 1, 6):
        ready.release(NodeId(node))
        order += take_all(ready)

    assert order == [1, 6, 7]


def test_two_declarations_of_a_pool_mean_the_smaller() -> None:
    """Whoever said 2 must not see 4 at once."""
    ready = queue(9)
    ready.add_pool("db", 4)
    ready.add_pool("db", 2)
    ready.add_pool("db", 3)
    for number in range(5):
        ready.push((0.0, 0.0, 0, NodeId(number)), "db")

    assert take_all(ready) == [0, 1]


def test_a_pool_can_shrink_while_it_is_in_use() -> None:
    """Nobody is stopped; nobody is started until the smaller number holds."""
    ready = queue(9, db=3)
    for number in range(5):
        ready.push((0.0, 0.0, 0, NodeId(number)), "db")
    assert take_all(ready) == [0, 1, 2]

    ready.add_pool("db", 1)
    started = []
    for node in (0, 1, 2):
        ready.release(NodeId(node))
        started.append(take_all(ready))

    assert started == [[], [], [3]]


class CountingRank(tuple[float, float, int, int]):
    """A rank that counts how often ranks are compared."""

    n_compared = 0

    def __lt__(self, other: object) -> bool:
        CountingRank.n_compared += 1
        return tuple.__lt__(self, other)  # type: ignore[operator]


def test_a_crowd_behind_a_pool_of_one_costs_what_it_costs_without() -> None:
    """Each node is parked and brought back once, not once for every node before it."""
    n_nodes = 4_000
    ready = queue(8, db=1)
    CountingRank.n_compared = 0
    for number in range(n_nodes):
        rank: Rank = CountingRank((0.0, 0.0, 0, number))  # type: ignore[assignment]
        ready.push(rank, "db")

    order = take_all(ready)
    while len(order) < n_nodes:
        ready.release(NodeId(order[-1]))
        order += take_all(ready)

    assert order == list(range(n_nodes))
    assert CountingRank.n_compared < 60 * n_nodes
