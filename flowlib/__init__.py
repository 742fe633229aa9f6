"""flowlib: pipelines as plain functions.

`@task` turns a function into a task; calling it records a node instead of running; `run` executes what is missing and
reuses the rest, because every result is filed under a key made of the code, the configuration and the upstream outputs.
`fan_out` expands a parameter space into nodes, `fan_in` reduces them.

Each name is imported when it is first used, so `import flowlib` costs next to nothing and a program pays for what it uses:
`flowlib.task` loads what describes work, `flowlib.run` what does it. Type checkers and editors read the imports below.
"""

import sys

__version__ = "0.1.0"

TYPE_CHECKING = False  # as in `typing`, whose import would cost more than all the rest of this file
if TYPE_CHECKING:
    from flowlib.api import arun, plan, run, start, why
    from flowlib.config import configure
    from flowlib.engine.handle import Run
    from flowlib.errors import (
        CannotSend,
        ClusterTrouble,
        CodeNotFound,
        ConfigError,
        ExpansionLimit,
        FileMissing,
        FlowError,
        FlowWarning,
        HiddenNode,
        InputMutated,
        MemoryExceeded,
        NodeMisused,
        ReducerError,
        RunStopped,
        SpaceError,
        StoreTrouble,
        SweepFailed,
        TaskMisused,
        TaskTimedOut,
        Undigestible,
        Untransferable,
        WorkerDied,
    )
    from flowlib.graph.budget import Pool, Rate, rate
    from flowlib.graph.node import Node
    from flowlib.graph.retry import Retry
    from flowlib.graph.task import Task, eager, task
    from flowlib.graph.timeout import Timeout
    from flowlib.hashing.canonical import Ignore, register_digest
    from flowlib.hashing.file import Dir, File
    from flowlib.hashing.identity import digest
    from flowlib.planning.explain import Explanation
    from flowlib.planning.preview import Plan
    from flowlib.sweep.distributions import choice, logspace, loguniform, randint, uniform
    from flowlib.sweep.failed import Failed
    from flowlib.sweep.fan import fan_in, fan_out
    from flowlib.sweep.group import FanOut
    from flowlib.sweep.point import Point
    from flowlib.sweep.reduce import (
        Best,
        Mean,
        Pareto,
        Ranked,
        Reducer,
        Stat,
        Top,
        Vote,
        average_metrics,
        best,
        best_metric,
        collect,
        collect_all,
        majority_vote,
        mean,
        pareto,
        reduce,
        top,
        vote,
        worst,
        worst_metric,
    )
    from flowlib.sweep.result import SweepResult
    from flowlib.sweep.space import Space, axis, cases, grid, sample, seeds, zipped

_HOMES = {
    "api": "arun plan run start why",
    "config": "configure",
    "engine.handle": "Run",
    "errors": (
        "CannotSend ClusterTrouble CodeNotFound ConfigError ExpansionLimit FileMissing FlowError FlowWarning HiddenNode "
        "InputMutated MemoryExceeded NodeMisused ReducerError RunStopped SpaceError StoreTrouble SweepFailed TaskMisused TaskTimedOut "
        "Undigestible Untransferable WorkerDied"
    ),
    "graph.node": "Node",
    "graph.budget": "Pool Rate rate",
    "graph.retry": "Retry",
    "graph.task": "Task eager task",
    "graph.timeout": "Timeout",
    "hashing.canonical": "Ignore register_digest",
    "hashing.identity": "digest",
    "hashing.file": "Dir File",
    "planning.explain": "Explanation",
    "planning.preview": "Plan",
    "sweep.distributions": "choice logspace loguniform randint uniform",
    "sweep.failed": "Failed",
    "sweep.fan": "fan_in fan_out",
    "sweep.group": "FanOut",
    "sweep.point": "Point",
    "sweep.reduce": (
        "Best Mean Pareto Ranked Reducer Stat Top Vote average_metrics best best_metric collect collect_all "
        "majority_vote mean pareto reduce top vote worst worst_metric"
    ),
    "sweep.result": "SweepResult",
    "sweep.space": "Space axis cases grid sample seeds zipped",
}
"""Module -> the public names that are imported from it."""


if not TYPE_CHECKING:  # hidden, because a checker would take it for a promise that any name exists

    def __getattr__(name: str) -> object:
        """Import a public name at its first use; Python asks here for what the module does not have yet."""
        for home, names in _HOMES.items():
            if name in names.split():
                from importlib import import_module

                value = getattr(import_module(f"flowlib.{home}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module 'flowlib' has no attribute {name!r}", name=name, obj=sys.modules[__name__])


del TYPE_CHECKING


def __dir__() -> list[str]:
    """List all public names, used already or not: for `dir()` and the completion of names."""
    return sorted({*globals(), *__all__})


def load_ipython_extension(ipython: object) -> None:
    """Register the displays of notebooks: what `%load_ext flowlib` calls."""
    from flowlib.notebook import load_ipython_extension as load

    load(ipython)


def unload_ipython_extension(ipython: object) -> None:
    """Take the displays back: what `%unload_ext flowlib` calls."""
    from flowlib.notebook import unload_ipython_extension as unload

    unload(ipython)


__all__ = [
    "__version__",
    "Best",
    "CannotSend",
    "ClusterTrouble",
    "CodeNotFound",
    "ConfigError",
    "Dir",
    "ExpansionLimit",
    "Explanation",
    "Failed",
    "FanOut",
    "File",
    "FileMissing",
    "FlowError",
    "FlowWarning",
    "HiddenNode",
    "Ignore",
    "InputMutated",
    "Mean",
    "MemoryExceeded",
    "Node",
    "NodeMisused",
    "Pareto",
    "Plan",
    "Point",
    "Pool",
    "Ranked",
    "Rate",
    "Reducer",
    "ReducerError",
    "Retry",
    "Run",
    "RunStopped",
    "Space",
    "SpaceError",
    "Stat",
    "StoreTrouble",
    "SweepFailed",
    "SweepResult",
    "Task",
    "TaskMisused",
    "TaskTimedOut",
    "Timeout",
    "Top",
    "Undigestible",
    "Untransferable",
    "Vote",
    "WorkerDied",
    "arun",
    "average_metrics",
    "axis",
    "best",
    "best_metric",
    "cases",
    "choice",
    "collect",
    "collect_all",
    "configure",
    "digest",
    "eager",
    "fan_in",
    "fan_out",
    "grid",
    "logspace",
    "loguniform",
    "majority_vote",
    "mean",
    "pareto",
    "plan",
    "randint",
    "rate",
    "reduce",
    "register_digest",
    "run",
    "sample",
    "seeds",
    "start",
    "task",
    "top",
    "uniform",
    "vote",
    "why",
    "worst",
    "worst_metric",
    "zipped",
]

if "IPython" in sys.modules:  # a notebook or a shell: show nodes, plans and results as tables
    from flowlib.notebook import register_if_running

    register_if_running()
