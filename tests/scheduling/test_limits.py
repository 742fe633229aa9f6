"""Slots, and what nodes need beside them."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from flowlib.ids import NodeId
from flowlib.scheduling.budgets import Budgets, Needs
from flowlib.scheduling.limits import SLOT, ReadyQueue
from flowlib.scheduling.messages import Traits
from flowlib.scheduling.priority import Rank


class Queue(ReadyQueue):
    """A queue of nodes that may name a pool."""

    def __init__(self, slots: int, **sizes: int) -> None:
        self.budgets = Budgets(sizes)
        self.traits: list[Traits] = []
        self.dead: set[NodeId] = set()
        super().__init__(slots, self.budgets, self.traits, lambda node: 0 if node in self.dead else SLOT)

    def push(self, rank: Rank, pool: str | None = None, needs: Needs = (), rates: tuple[str, ...] = ()) -> None:
        self.traits += [Traits()] * (rank[3] + 1 - len(self.traits))
        self.traits[rank[3]] = Traits(needs=((pool, 1), *needs) if pool else needs, rates=rates)
        super().push(rank)

    def add_pool(self, name: str, slots: int) -> None:
        self.budgets.declare(name, slots)


def queue(slots: int, **sizes: int) -> Queue:
    """Return an empty queue."""
    return Queue(slots, **sizes)


def take_all(ready: Queue) -> list[int]:
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


def at(number: int) -> Rank:
    """Return the rank of a node that stands as its number says."""
    return (0.0, 0.0, 0, NodeId(number))


def test_a_node_that_needs_much_is_not_overtaken() -> None:
    """Small ones of lower rank would keep it waiting for ever."""
    ready = queue(9, cpu=4)
    for number, amount in enumerate([3, 4, 1, 1]):
        ready.push(at(number), needs=(("cpu", amount),))

    assert take_all(ready) == [0]
    ready.release(NodeId(0))
    assert take_all(ready) == [1]
    ready.release(NodeId(1))
    assert take_all(ready) == [2, 3]


def test_a_node_of_better_rank_goes_first_wherever_it_waits() -> None:
    """What it needs may be less than what others wait for."""
    ready = queue(9, cpu=4)
    for number, amount in ((5, 3), (6, 4)):
        ready.push(at(number), needs=(("cpu", amount),))
    assert take_all(ready) == [5]

    ready.push(at(1), needs=(("cpu", 1),))
    assert take_all(ready) == [1]


def test_who_waits_for_two_holds_neither() -> None:
    """And lets others have the one that is there."""
    ready = queue(9, db=1, gpu=1)
    ready.push(at(0), "db")
    assert take_all(ready) == [0]
    ready.push(at(1), needs=(("db", 1), ("gpu", 1)))
    ready.push(at(2), "gpu")

    assert take_all(ready) == [2]
    ready.release(NodeId(0))
    assert take_all(ready) == []
    ready.release(NodeId(2))
    assert take_all(ready) == [1]


def test_one_brought_back_that_lacks_something_else_lets_the_next_come() -> None:
    """Otherwise the freed slot of the first pool would be forgotten."""
    ready = queue(9, db=1, gpu=1)
    ready.push(at(0), "db")
    ready.push(at(1), "gpu")
    assert take_all(ready) == [0, 1]
    ready.push(at(2), needs=(("db", 1), ("gpu", 1)))
    ready.push(at(3), "db")

    ready.release(NodeId(0))
    assert take_all(ready) == [3]


def test_an_ended_node_is_in_nobodys_way() -> None:
    """It was cancelled or took too long while it waited."""
    ready = queue(9, cpu=4)
    for number, amount in enumerate([3, 4, 1]):
        ready.push(at(number), needs=(("cpu", amount),))
    assert take_all(ready) == [0]

    ready.dead.add(NodeId(1))
    ready.wake_all()
    assert take_all(ready) == [2]


def test_a_rate_is_used_up_by_starting() -> None:
    """The end of a node brings nothing back; time does, whoever tells of it."""
    ready = queue(9, api=2)
    for number in range(4):
        ready.push(at(number), rates=("api",))
    assert (take_all(ready), ready.spent) == ([0, 1], ["api", "api"])

    ready.release(NodeId(0))
    assert take_all(ready) == []
    ready.budgets.give((("api", 1),))
    ready.wake_all()
    assert take_all(ready) == [2]


def test_who_does_not_start_after_all_has_used_up_nothing() -> None:
    """Neither a rate nor a budget."""
    ready = queue(9, api=1, db=1)
    ready.push(at(0), "db", rates=("api",))
    assert take_all(ready) == [0]

    ready.put_back(NodeId(0))
    assert (ready.budgets.free("api"), ready.budgets.free("db"), ready.spent) == (1, 1, [])


def test_what_a_job_keeps_is_not_there_for_others() -> None:
    """Until it comes back."""
    ready = queue(2, db=1)
    ready.push(at(0), "db")
    assert take_all(ready) == [0]
    ready.keep(NodeId(0))
    ready.push(at(0), "db")
    ready.push(at(1))
    ready.push(at(2))

    assert take_all(ready) == [1]
    ready.return_kept(NodeId(0))
    assert take_all(ready) == [0]


@given(seed=st.integers(0, 2**32))
def test_no_budget_is_ever_exceeded_and_nobody_is_forgotten(seed: int) -> None:
    """Whatever nodes need and in whatever order they end, all of them start, and sums stay within sizes."""
    dice = Random(seed)
    sizes = {"a": dice.randint(1, 3), "b": dice.randint(1, 3), "c": dice.randint(1, 3)}
    ready, n_nodes = queue(dice.randint(1, 5), **sizes), dice.randint(1, 25)
    waiting, running, n_started = list(range(n_nodes)), set[NodeId](), 0
    while n_started < n_nodes or running:
        for _ in range(dice.randint(0, len(waiting))):
            chosen = dice.sample(sorted(sizes), dice.randint(0, 3))
            needs = tuple((name, dice.randint(1, sizes[name])) for name in chosen)
            ready.push((float(dice.randint(0, 3)), 0.0, 0, NodeId(waiting.pop())), needs=needs)
        started = [NodeId(n) for n in take_all(ready)]
        running.update(started)
        n_started += len(started)
        for name, size in sizes.items():
            used = sum(dict(ready.traits[node].needs).get(name, 0) for node in running)
            assert used == size - ready.budgets.free(name) <= size
        assert running or waiting or n_started == n_nodes, "nodes were forgotten"
        if running and dice.random() < 0.7:
            node = dice.choice(sorted(running))
            running.discard(node)
            ready.release(node)


def test_a_crowd_behind_two_budgets_is_moved_a_bounded_number_of_times() -> None:
    """Not once for every node before it."""
    n_nodes = 2_000
    ready = queue(8, db=1, gpu=1)
    CountingRank.n_compared = 0
    for number in range(n_nodes):
        rank: Rank = CountingRank((0.0, 0.0, 0, number))  # type: ignore[assignment]
        ready.push(rank, needs=(("db", 1), ("gpu", 1)))

    order = take_all(ready)
    while len(order) < n_nodes:
        ready.release(NodeId(order[-1]))
        order += take_all(ready)

    assert order == list(range(n_nodes))
    assert CountingRank.n_compared < 100 * n_nodes
