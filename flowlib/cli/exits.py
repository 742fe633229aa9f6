"""How a command ends: one number for each kind of end, and the exception that carries a bad one to the door.

Invariant: these numbers are part of the interface, for scripts and CI; one is never given a second meaning.
"""

from collections.abc import Mapping
from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of `flowlib`."""

    OK = 0
    TASK_FAILED = 1
    USAGE = 2
    NOT_IMPORTED = 3
    INVALID = 4
    WORK_TO_DO = 5
    CACHE = 6
    OUTPUT = 7
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS: Mapping[Exit, str] = {
    Exit.OK: "all is well",
    Exit.TASK_FAILED: "a task failed",
    Exit.USAGE: "the command was used wrongly",
    Exit.NOT_IMPORTED: "the file could not be imported",
    Exit.INVALID: "the pipeline is not valid",
    Exit.WORK_TO_DO: "`plan --check` found work to do",
    Exit.CACHE: "the cache cannot be used, or `cache verify` found damage",
    Exit.OUTPUT: "the output could not be written",
    Exit.INTERRUPTED: "interrupted",
    Exit.TERMINATED: "told to end by SIGTERM",
}


class Ended(Exception):
    """A command cannot go on. Raised where it is found out, told to the user in one place.

    Attributes:
        code: What the process exits with.
        error: The reason: a `FlowError`, or an exception of the user's own code, which is shown with its traceback.
    """

    def __init__(self, code: Exit, error: BaseException) -> None:
        super().__init__(str(error))
        self.code = code
        self.error = error
