"""flowlib: pipelines as plain functions.

`@task` turns a function into a task; calling it records a node instead of running; `run` executes what is missing and
reuses the rest, because every result is filed under a key made of the code, the configuration and the upstream outputs.
`fan_out` expands a parameter space into nodes, `fan_in` reduces them.
"""

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
from flowlib.sweep.fan import FanOut, fan_in, fan_out

__version__ = "0.1.0"
