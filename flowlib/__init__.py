"""flowlib: pipelines as plain functions.

`@task` turns a function into a task; calling it records a node instead of running; `run` executes what is missing and
reuses the rest, because every result is filed under a key made of the code, the configuration and the upstream outputs.
`fan_out` expands a parameter space into nodes, `fan_in` reduces them.
"""

import sys

from flowlib.api import arun, digest, plan, run, start, why
from flowlib.config import configure
from flowlib.engine.handle import Run
from flowlib.errors import (
    CodeNotFound,
    ConfigError,
    ExpansionLimit,
    FileMissing,
    FlowError,
    FlowWarning,
    HiddenNode,
    InputMutated,
    NodeMisused,
    ReducerError,
    RunStopped,
    SpaceError,
    StoreTrouble,
    SweepFailed,
    TaskMisused,
    Undigestible,
)
from flowlib.graph.node import Node
from flowlib.graph.policy import Pool
from flowlib.graph.task import Task, eager, task
from flowlib.hashing.canonical import Ignore, register_digest
from flowlib.hashing.file import Dir, File
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

__version__ = "0.1.0"

if "IPython" in sys.modules:  # a notebook or a shell: show nodes, plans and results as tables
    from flowlib.notebook import register_if_running

    register_if_running()


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
    "Node",
    "NodeMisused",
    "Pareto",
    "Plan",
    "Point",
    "Pool",
    "Ranked",
    "Reducer",
    "ReducerError",
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
    "Top",
    "Undigestible",
    "Vote",
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
