"""Every error flowlib raises, and the one way their texts are written.

FlowError
├── NodeMisused (TypeError)            a node used where only a value makes sense
├── HiddenNode (TypeError)             a node inside an object flowlib cannot look into
├── TaskMisused (TypeError)            wrong arguments at a task's call, unknown option, generator result
├── SpaceError (ValueError)            a parameter space that cannot be swept
├── ReducerError (ValueError)          a reduction that has no honest answer
├── Undigestible (TypeError)           a value without a stable digest
├── CodeNotFound (ValueError)          a function whose code cannot be identified
├── InputMutated (RuntimeError)        a task changed one of its inputs
├── ExpansionLimit (RecursionError)    tasks keep returning new nodes
├── SweepFailed (RuntimeError)         several nodes failed
├── TaskTimedOut (TimeoutError)        a task took longer than it may
├── RunStopped (RuntimeError)          a result was asked of a run that was cancelled
├── WorkerDied (RuntimeError)          the process of a task ended under it
├── MemoryExceeded (MemoryError)       a task held more memory than it had asked for
├── ClusterTrouble (RuntimeError)      a cluster or an executor that was given cannot do its work
├── CannotSend (TypeError)             a task, an argument or a result that cannot go to another process
├── Untransferable (RuntimeError)      stands for an exception that cannot travel between processes
├── FileMissing (FileNotFoundError)    a declared file does not exist
├── StoreTrouble (OSError)             the cache directory cannot be used
├── ConfigError (ValueError)           unknown or malformed configuration
├── MissingExtra (ImportError)         an optional package is not installed
├── UsageError (ValueError)            a door was used wrongly (command line)
└── InternalError (RuntimeError)       a bug in flowlib

Invariant: a message is built only by `FlowError.__str__`: what happened, aligned facts, what to do.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class FlowError(Exception):
    """Base of all errors: `what` happened, `facts` about it, a `hint` what to do.

    Survives pickling with all its attributes.

    >>> print(FlowError("Nothing to run.", {"target": "[]"}, "Pass a node."))
    Nothing to run.
      target  []
    Pass a node.
    """

    may_pass = False
    """Whether another attempt may go well. False for what tells of a mistake in the program."""

    def __init__(self, what: str, facts: Mapping[str, object] | None = None, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.facts: dict[str, str] = {name: str(value) for name, value in (facts or {}).items()}
        self.hint = hint

    def __str__(self) -> str:
        width = max((len(name) for name in self.facts), default=0)
        lines = [self.what]
        for name, value in self.facts.items():
            first, *rest = value.splitlines() or [""]
            lines.append(f"  {name:<{width}}  {first}")
            lines.extend(" " * (width + 4) + line for line in rest)
        if self.hint:
            lines.append(self.hint)
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(cls: type[FlowError], args: tuple[object, ...], fields: dict[str, object]) -> FlowError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class NodeMisused(FlowError, TypeError):
    """A node was used as if it were its value: as a bool, a number, an iterable, text, an array."""


class HiddenNode(FlowError, TypeError):
    """A node sits inside an object flowlib does not look into, so it would never be replaced by its value."""


class TaskMisused(FlowError, TypeError):
    """A task was declared or called in a way that cannot work."""


class SpaceError(FlowError, ValueError):
    """A parameter space is empty, contradictory, too large, or does not fit its task."""


class ReducerError(FlowError, ValueError):
    """A reduction has no honest answer: missing metric, nothing finite, too many failures."""


class Undigestible(FlowError, TypeError):
    """A value has no stable digest. `path` says where inside the argument it sits, `type_name` what it is."""

    def __init__(self, *, path: str, type_name: str, reason: str, hint: str = "") -> None:
        super().__init__(
            f"Value at {path or 'the top'} has no stable digest.",
            {"path": path or "(the value itself)", "type": type_name, "reason": reason},
            hint
            or "Pass a path or a config instead, give the class a __flowlib_digest__ method, "
            "or register one with flowlib.register_digest.",
        )
        self.path = path
        self.type_name = type_name
        self.reason = reason


class CodeNotFound(FlowError, ValueError):
    """A function's code can be found neither as source nor as bytecode, so it has no code version."""


class InputMutated(FlowError, RuntimeError):
    """A task changed an input that others share; the run's results would depend on timing."""


class ExpansionLimit(FlowError, RecursionError):
    """Tasks returned more new nodes than `max_nodes` allows."""


class SweepFailed(FlowError, RuntimeError):
    """Several nodes failed. `errors` holds one exception for each, in graph order."""

    may_pass = True

    def __init__(self, what: str, facts: Mapping[str, object], hint: str, errors: Iterable[BaseException]) -> None:
        super().__init__(what, facts, hint)
        self.errors = tuple(errors)


_LIMITS = {"run": "one attempt", "queue": "waiting for a slot", "total": "all attempts together"}


class TaskTimedOut(FlowError, TimeoutError):
    """A task took longer than its `timeout` allows. `limit` is `run`, `queue` or `total`, `limit_s` its seconds."""

    may_pass = True

    def __init__(self, *, task: str, limit: str, limit_s: float) -> None:
        super().__init__(
            f"Task {task!r} took longer than {limit_s:g} s.",
            {"limit": f"timeout {limit}: {_LIMITS[limit]}"},
            f"Give it more time, timeout=fl.Timeout({limit}=...), or let it be tried again: retries=2.",
        )
        self.limit, self.limit_s = limit, limit_s


class RunStopped(FlowError, RuntimeError):
    """A value was asked of a run that was cancelled before it was computed."""


class WorkerDied(FlowError, RuntimeError):
    """The process in which a task ran ended before the task did: a signal, `os._exit`, no memory.

    `signal` is its number, 0 if it was none; `exit_code` is None if it was one. `peak_bytes` is the most memory it held.
    """

    may_pass = True

    def __init__(self, *, task: str, signal_number: int, exit_code: int | None, peak_bytes: int) -> None:
        how = f"was killed by {_signal_name(signal_number)}" if signal_number else f"exited with code {exit_code}"
        facts = {"process": how}
        if peak_bytes:
            facts["peak memory"] = f"{peak_bytes / 1e6:.0f} MB"
        super().__init__(f"The process of task {task!r} died.", facts, _death_hint(signal_number))
        self.signal_number = signal_number
        self.exit_code = exit_code
        self.peak_bytes = peak_bytes


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _death_hint(signal_number: int) -> str:
    import signal

    if signal_number == signal.SIGKILL:
        return "If nobody killed it, the system may have run out of memory: give the task less to hold, or run fewer at once."
    if signal_number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGABRT, signal.SIGFPE):
        return "Compiled code that the task calls has crashed; faulthandler shows where when the task runs alone."
    return "The task, or something it called, ended the process; let it return or raise instead."


class MemoryExceeded(FlowError, MemoryError):
    """A task's process held more memory than the task had asked for, and was ended. `cap_bytes` and `peak_bytes` say it."""

    def __init__(self, *, task: str, cap_bytes: int, peak_bytes: int) -> None:
        super().__init__(
            f"Task {task!r} used more memory than it asked for.",
            {"asked for": f"{cap_bytes / 1e6:.0f} MB", "held": f"{peak_bytes / 1e6:.0f} MB when it was ended"},
            'Give it more with resources={"memory": ...}, or less to hold at once.',
        )
        self.cap_bytes = cap_bytes
        self.peak_bytes = peak_bytes


class ClusterTrouble(FlowError, RuntimeError):
    """A cluster, or an executor that was given, cannot do its work: it is not there, does not fit, or gave a task up."""


class CannotSend(FlowError, TypeError):
    """A task, an argument or a result cannot be sent to another process."""


class Untransferable(FlowError, RuntimeError):
    """Stands for an exception that cannot travel between processes. `type_name` and `message` say what it was."""

    def __init__(self, *, type_name: str, message: str, reason: str) -> None:
        super().__init__(
            f"{type_name}: {message}",
            {"reason": f"the exception itself cannot be sent between processes ({reason})"},
            'Give its class picklable attributes, or the task executor="threads", to catch it by its type.',
        )
        self.type_name = type_name
        self.message = message
        self.reason = reason


class FileMissing(FlowError, FileNotFoundError):
    """A file or directory that a pipeline declares does not exist."""


class StoreTrouble(FlowError, OSError):
    """The cache directory cannot be used as asked."""


class ConfigError(FlowError, ValueError):
    """A configuration key or value is not known."""


class MissingExtra(FlowError, ImportError):
    """A feature needs an optional package that is not installed."""

    def __init__(self, *, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the extra '{extra}'.", {}, f'Run: pip install "flowlib[{extra}]"')
        self.extra = extra


class UsageError(FlowError, ValueError):
    """A command was given arguments it cannot use."""


class InternalError(FlowError, RuntimeError):
    """A state that should be impossible. Please report it with the text of the error."""


class FlowWarning(UserWarning):
    """Something a run could not do, though it returned its result: told once per cause."""


def error_text(error: object) -> str:
    """Return the text of an error whose class may refuse to give one. Never raises.

    >>> error_text(KeyError("x"))
    "'x'"
    """
    try:
        return str(error)
    except BaseException as broken:  # a `__str__` of the user's own may do anything; the failure must still be told
        return f"(its message raised {type(broken).__name__})"


def near_miss(name: str, known: Iterable[str]) -> str:
    """Return a sentence that names the nearest known word, or lists the known words.

    >>> near_miss("dept", ["depth", "lr"])
    "Did you mean 'depth'?"
    >>> near_miss("zzz", ["depth", "lr"])
    'Known: depth, lr.'
    """
    words = sorted(known)
    close = difflib.get_close_matches(name, words, n=1)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(words)}." if words else "None are known."
