"""How a task wants to be treated: the options of `@task`, checked when they are given.

Invariant: nothing in a policy except `version`, `ignore` and `env` may influence a key.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import attrs

from flowlib.errors import TaskMisused, near_miss

OnError = Literal["stop", "continue", "keep"] | Callable[[BaseException], object]

PLANNED_OPTIONS = frozenset({"retries", "timeout", "resources"})
"""Options of the design that this version does not have yet. Using one is an error: it would be silently ignored."""


@attrs.frozen(kw_only=True)
class Pool:
    """A named set of slots: at most `slots` nodes that name the same pool run at once.

    >>> Pool(name="db", slots=2)
    Pool(name='db', slots=2)
    """

    name: str
    slots: int = attrs.field(validator=attrs.validators.ge(1))


@attrs.frozen(kw_only=True)
class Policy:
    """The options of one task, or of one call made through `task.options(...)`."""

    name: str | None = None
    """The task's identity in keys and pictures; the function's own name unless given."""
    version: str = ""
    """A manual salt: change it to set aside every stored result of the task."""
    cache: bool = True
    """Whether results are stored and reused."""
    ttl: float | None = None
    """Seconds a stored result stays valid; None is for ever."""
    ignore: tuple[str, ...] = ()
    """Parameters that do not influence the result and stay out of the key."""
    env: tuple[str, ...] = ()
    """Environment variables whose values enter the key."""
    outputs: int | None = None
    """How many values the call unpacks into, when the return annotation does not say."""
    executor: Literal["inline", "threads"] | None = None
    """Where the task must run; None lets the run choose."""
    pool: Pool | None = None
    """Slots shared with other tasks."""
    priority: float = 0.0
    """Higher starts earlier among the nodes that are ready."""
    on_error: OnError | None = None
    """What a failure does to the run; None lets the run choose. A function makes the value to go on with."""
    always: bool = False
    """Run even when dependencies failed; their places are taken by `Failed` values."""
    check_in: Callable[..., object] | None = None
    """Called with the task's arguments before it; raises or returns False to refuse them."""
    check_out: Callable[[Any], object] | None = None
    """Called with the result; raises or returns False to refuse it."""
    same: Callable[[Any, Any], bool] | None = None
    """Tells whether a new result is as good as the previous one, which is then kept in its place."""
    codec: str | None = None
    """Name of the codec that stores the result; chosen by type unless given."""
    tags: tuple[str, ...] = ()
    """Free words for finding runs and nodes."""


OPTION_NAMES = frozenset(field.name for field in attrs.fields(Policy))


def policy_with(policy: Policy, options: Mapping[str, object], *, task: str, parameters: tuple[str, ...]) -> Policy:
    """Return `policy` changed by `options`.

    Raises:
        TaskMisused: An option is unknown, not available yet, malformed, or names a parameter the task does not have.
    """
    for name in options:
        if name in PLANNED_OPTIONS:
            raise TaskMisused(
                f"Option {name!r} of task {task!r} is not available in this version.",
                {"available": ", ".join(sorted(OPTION_NAMES))},
                "Remove it: an option that has no effect would only look like one.",
            )
        if name not in OPTION_NAMES:
            raise TaskMisused(f"Task {task!r} has no option {name!r}.", {}, near_miss(name, OPTION_NAMES))
    changes = dict(options)
    for name in ("ignore", "env", "tags"):
        if name in changes:
            changes[name] = _words(changes[name])
    changed: Policy = attrs.evolve(policy, **changes)  # type: ignore[arg-type]
    _check(changed, task, parameters)
    return changed


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(word) for word in value)  # type: ignore[attr-defined]


def _check(policy: Policy, task: str, parameters: tuple[str, ...]) -> None:
    for name in policy.ignore:
        if name not in parameters:
            raise TaskMisused(
                f"Task {task!r} ignores {name!r}, which it does not have.", {}, near_miss(name, parameters)
            )
    if policy.on_error is not None and not callable(policy.on_error):
        _check_word(policy.on_error, ("stop", "continue", "keep"), "on_error", task)
    if policy.executor is not None:
        _check_word(policy.executor, ("inline", "threads"), "executor", task)
    if policy.outputs is not None and policy.outputs < 1:
        raise TaskMisused(f"Task {task!r} says outputs={policy.outputs}.", {}, "Give the number of values it returns.")
    if policy.pool is not None and not isinstance(policy.pool, Pool):
        raise TaskMisused(
            f"Task {task!r} has a pool that is not a Pool.", {}, 'Write pool=fl.Pool(name="db", slots=2).'
        )
    for name in ("check_in", "check_out", "same"):
        if getattr(policy, name) is not None and not callable(getattr(policy, name)):
            raise TaskMisused(f"Option {name!r} of task {task!r} must be a function.", {}, "")


def _check_word(word: object, known: tuple[str, ...], option: str, task: str) -> None:
    if word not in known:
        raise TaskMisused(f"Task {task!r} has {option}={word!r}.", {}, near_miss(str(word), known))
