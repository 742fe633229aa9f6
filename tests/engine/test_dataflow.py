"""A node starts when its own inputs are there; nothing waits for a level."""

import threading
from typing import Any

import flowlib as fl


def test_a_branch_goes_on_while_another_is_still_busy() -> None:
    """a -> b and c -> d: b runs while c, a root like a, has not finished. Level by level this would never end."""
    b_runs = threading.Event()

    @fl.task(cache=False)
    def a() -> int:
        return 1

    @fl.task(cache=False)
    def b(x: int) -> int:
        b_runs.set()
        return x + 1

    @fl.task(cache=False)
    def c() -> bool:
        return b_runs.wait(30)

    @fl.task(cache=False)
    def d(saw_b: bool) -> bool:
        return saw_b

    @fl.task(cache=False)
    def join(left: Any, right: Any) -> Any:
        return left, right

    assert fl.run(join(b(a()), d(c())), workers=2, cache=False, progress=False) == (2, True)


def test_the_longest_remaining_path_starts_first() -> None:
    """With one worker, roots start by what hangs below them, not by the order they were written in."""
    order: list[str] = []

    @fl.task(cache=False)
    def step(name: str, *after: Any) -> str:
        order.append(name)
        return name

    short = step("short")
    long = step("long 3", step("long 2", step("long 1")))
    fl.run([short, long], workers=1, executor="inline", cache=False, progress=False)
    assert order[0] == "long 1"


def test_a_long_chain_and_a_wide_fan_out_finish() -> None:
    """No recursion and no quadratic step: 20,000 nodes deep, 20,000 wide."""

    @fl.task(cache=False)
    def inc(x: int) -> int:
        return x + 1

    node: Any = inc(0)
    for _ in range(19_999):
        node = inc(node)
    assert fl.run(node, cache=False, progress=False, executor="inline") == 20_000
    jobs = fl.fan_out(inc, over=fl.grid(x=range(20_000)))
    assert fl.run(fl.fan_in(jobs, fl.best(max="value")), cache=False, progress=False).score == 20_000
