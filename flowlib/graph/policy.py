"""How a task wants to be treated: the options of `@task`, checked when they are given.

Invariant: nothing in a policy except `version`, `ignore` and `env` may influence a key.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import attrs

from flowlib.errors import TaskMisused, near_miss
from flowlib.graph.budget import Resources, Shared, pool_from, resources_from
from flowlib.graph.retry import Retry, retry_from
from flowlib.graph.timeout import Timeout, timeout_from

OnError = Literal["stop", "continue", "keep"] | Callable[..., object]
"""A word, a function, or a node, which type checkers take for its value; `Policy.on_error` says what each does."""


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
    retries: Retry | None = None
    """When a failed call is tried again; a number stands for that many further attempts."""
    timeout: Timeout | None = None
    """How long a call may take; a number stands for the seconds of one attempt."""
    executor: str | None = None
    """Where the task must run; None lets the run choose."""
    resources: Resources | None = None
    """How much of the machine a call takes; given as a dict."""
    pool: Shared | tuple[Shared, ...] | None = None
    """What is shared with other tasks: slots, or how many may start in a time."""
    priority: float = 0.0
    """Higher starts earlier among the nodes that are ready."""
    on_error: OnError | None = None
    """What a failure does to the run; None lets the run choose.

    A word; a node, whose value takes the place of the missing one and which runs only then; a function of the error, which
    makes that value, or returns a node; or a function of the error and the number of attempts, which returns one of these.
    """
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

_READERS: Mapping[str, Callable[[Any, str], object]] = MappingProxyType(
    {"retries": retry_from, "timeout": timeout_from, "resources": resources_from, "pool": pool_from}
)
"""Option -> what makes it of what was given, for a task."""
_WORD_LISTS = ("ignore", "env", "tags")
_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = MappingProxyType(
    {
        "name": ((str,), 'Write name="...".'),
        "version": ((str,), 'Write it as text: version="2".'),
        "cache": ((bool,), "Write cache=False or cache=True."),
        "ttl": ((int, float), "Give seconds: ttl=3600."),
        "outputs": ((int,), "Give the number of values it returns."),
        "priority": ((int, float), "Give a number; higher starts earlier."),
        "always": ((bool,), "Write always=True or always=False."),
        "codec": ((str,), "Give the codec's name."),
    }
)
"""Option -> types of its value, and what to do about another one. `None` stands for "not given" where it is allowed."""
_OPTIONAL = frozenset(field.name for field in attrs.fields(Policy) if field.default is None)


def policy_with(policy: Policy, options: Mapping[str, object], *, task: str, parameters: tuple[str, ...]) -> Policy:
    """Return `policy` changed by `options`.

    Raises:
        TaskMisused: An option is unknown, malformed, or names a parameter the task does not have.
    """
    changes = dict(options)
    for name, value in options.items():
        _check_name(name, task)
        if name in _READERS:
            changes[name] = _READERS[name](value, task)
        elif name in _WORD_LISTS:
            changes[name] = _words(value, name, task)
        elif name in _KINDS:
            _check_kind(value, name, task)
    changed: Policy = attrs.evolve(policy, **changes)  # type: ignore[arg-type]
    _check(changed, task, parameters)
    return changed


def _check_name(name: str, task: str) -> None:
    if name not in OPTION_NAMES:
        raise TaskMisused(f"Task {task!r} has no option {name!r}.", {}, near_miss(name, OPTION_NAMES))


def _check_kind(value: object, name: str, task: str) -> None:
    kinds, hint = _KINDS[name]
    if value is None and name in _OPTIONAL:
        return
    is_number_by_accident = isinstance(value, bool) and bool not in kinds
    if not isinstance(value, kinds) or is_number_by_accident or value != value:
        raise TaskMisused(f"Task {task!r} has {name}={value!r}.", {}, hint)


def _words(value: object, name: str, task: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(word, str) for word in value):
        return tuple(sorted(value) if isinstance(value, (set, frozenset)) else value)
    raise TaskMisused(f"Task {task!r} has {name}={value!r}.", {}, f'Give words: {name}=["one", "two"].')


def _check(policy: Policy, task: str, parameters: tuple[str, ...]) -> None:
    for name in policy.ignore:
        if name not in parameters:
            raise TaskMisused(
                f"Task {task!r} ignores {name!r}, which it does not have.", {}, near_miss(name, parameters)
            )
    if policy.on_error is not None and not callable(policy.on_error):
        _check_word(policy.on_error, ("stop", "continue", "keep"), "on_error", task)
    if policy.executor is not None:
        from flowlib.config import executor_trouble  # settings are no part of describing work

        hint = executor_trouble(policy.executor, or_object=False)
        if hint:
            raise TaskMisused(f"Task {task!r} has executor={policy.executor!r:.80}.", {}, hint)
    for name, value in (("outputs", policy.outputs), ("ttl", policy.ttl)):
        if value is not None and value <= 0:
            raise TaskMisused(f"Task {task!r} has {name}={value}.", {}, _KINDS[name][1])
    for name in ("check_in", "check_out", "same"):
        if getattr(policy, name) is not None and not callable(getattr(policy, name)):
            raise TaskMisused(f"Option {name!r} of task {task!r} must be a function.", {}, "Give a function or None.")


def _check_word(word: object, known: tuple[str, ...], option: str, task: str) -> None:
    if word not in known:
        raise TaskMisused(f"Task {task!r} has {option}={word!r}.", {}, near_miss(str(word), known))
