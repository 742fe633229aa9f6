"""The options of a task, checked when they are given."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flowlib.errors import TaskMisused
from flowlib.graph.budget import Pool, Resources
from flowlib.graph.policy import OPTION_NAMES, Policy, policy_with
from flowlib.graph.retry import Retry
from flowlib.graph.task import task
from flowlib.graph.timeout import Timeout


def fit(data: int, verbose: bool = False) -> int:
    """Return something."""
    return data


def test_options_become_a_policy() -> None:
    """Words may be given one at a time, in a list, or in a set, whose order does not matter."""
    made = task(fit, name="train", ttl=60, ignore="verbose", env=["HOME", "USER"], tags={"b", "a"}, outputs=2).policy

    assert made == Policy(name="train", ttl=60, ignore=("verbose",), env=("HOME", "USER"), tags=("a", "b"), outputs=2)


def test_every_option_is_accepted_with_a_good_value() -> None:
    """The list in the documentation of `task` is the list here."""
    good: dict[str, Any] = {
        "name": "x", "version": "2", "cache": False, "ttl": 1.5, "ignore": ("data",), "env": (), "outputs": 1,
        "executor": "inline", "pool": Pool(name="db", slots=1), "priority": -2, "on_error": "keep", "always": True,
        "retries": Retry(2), "timeout": Timeout(5),
        "resources": Resources((("cpu", 2000),)),
        "check_in": print, "check_out": print, "same": max, "codec": "json", "tags": ("t",),
    }  # fmt: skip

    made = task(fit, **good).policy

    assert set(good) == OPTION_NAMES
    assert {name: getattr(made, name) for name in good} == good
    for name in OPTION_NAMES:
        assert name in (task.__doc__ or "")


@pytest.mark.parametrize(
    "name", ["name", "ttl", "outputs", "executor", "pool", "on_error", "check_in", "check_out", "same", "codec"]
)
def test_none_takes_an_option_back(name: str) -> None:
    """For one call, or for a task derived from another."""
    assert getattr(task(fit, ttl=5, outputs=2).options(**{name: None}).policy, name) is None


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("name", 3, "name="),
        ("version", 2, 'version="2"'),
        ("version", None, 'version="2"'),
        ("cache", "no", "cache=False"),
        ("cache", 0, "cache=False"),
        ("ttl", "1h", "seconds"),
        ("ttl", timedelta(hours=1), "seconds"),
        ("ttl", 0, "seconds"),
        ("ttl", float("nan"), "seconds"),
        ("ttl", True, "seconds"),
        ("ignore", 3, "words"),
        ("ignore", [3], "words"),
        ("ignore", "verbos", "Did you mean 'verbose'?"),
        ("env", {"HOME": 1}, "words"),
        ("outputs", 0, "number of values"),
        ("outputs", 2.0, "number of values"),
        ("outputs", True, "number of values"),
        ("executor", "thread", "Did you mean 'threads'?"),
        ("pool", 3, "fl.Pool("),
        ("pool", ["db", 3], "fl.Pool("),
        ("pool", "", "fl.Pool("),
        ("resources", 2, "cpu"),
        ("resources", {"cpu": "two"}, "number"),
        ("resources", {"cpu": -1}, "number"),
        ("resources", {"memory": "many"}, "bytes"),
        ("resources", {3: 1}, "cpu"),
        ("priority", "high", "number"),
        ("priority", float("nan"), "number"),
        ("priority", None, "number"),
        ("on_error", "kep", "Did you mean 'keep'?"),
        ("always", 1, "always=True"),
        ("check_in", "x", "function"),
        ("check_out", 1, "function"),
        ("same", "equal", "function"),
        ("codec", 7, "codec"),
        ("tags", 5, "words"),
    ],
)
def test_a_malformed_option_is_refused_with_what_to_write(option: str, value: object, hint: str) -> None:
    """When it is given, not when a run comes to use it."""
    for use in (lambda: task(fit, **{option: value}), lambda: task(fit).options(**{option: value})):
        with pytest.raises(TaskMisused) as caught:
            use()

        assert "'fit'" in str(caught.value)
        assert hint in caught.value.hint


def test_an_unknown_option_names_the_nearest_known() -> None:
    """Misspelt options are the commonest mistake."""
    with pytest.raises(TaskMisused, match=r"has no option 'cashe'.\nDid you mean 'cache'\?"):
        task(fit, cashe=False)


@pytest.mark.parametrize("slots", [0, -1, 1.5, "2", True])
def test_a_pool_needs_a_whole_number_of_slots(slots: Any) -> None:
    """At least one."""
    with pytest.raises(TaskMisused, match="Pool 'db' has slots="):
        Pool(name="db", slots=slots)


def test_a_policy_does_not_change() -> None:
    """`policy_with` returns another."""
    policy = Policy()

    changed = policy_with(policy, {"cache": False}, task="fit", parameters=())

    assert policy.cache
    assert not changed.cache
    with pytest.raises(AttributeError):
        policy.cache = False  # type: ignore[misc]


def test_a_fallback_function_is_an_answer_to_errors() -> None:
    """Beside the words."""
    fallback: Callable[[BaseException], object] = repr

    assert task(fit, on_error=fallback).policy.on_error is fallback
