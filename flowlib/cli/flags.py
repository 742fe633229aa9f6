"""flowlib's own options, spelled once for every command that has them.

They come anywhere after the verb. A parameter of the pipeline that has the name of one is given after `--`.
"""

from typing import Annotated, Literal

from cyclopts import Group, Parameter

OWN = Group("Options of flowlib", sort_key=2)
_TARGET_HELP = "The file of the pipeline and, after a colon, which function, task or node is meant."

TARGET_NAME = "FILE[:NAME]"
Target = Annotated[str, Parameter(name=TARGET_NAME, help=_TARGET_HELP, group=Group("Target", sort_key=0))]
Tokens = Annotated[tuple[str, ...], Parameter(parse=False)]
"""The words that belong to the pipeline."""

Workers = Annotated[int | None, Parameter(name="--workers", help="Jobs at once; CPUs + 4, at most 32.", group=OWN)]
Executor = Annotated[
    Literal["threads", "processes", "inline"] | None,
    Parameter(name="--executor", help="Where tasks run: threads, or one after the other in this one.", group=OWN),
]
Timeout = Annotated[
    float | None,
    Parameter(name="--timeout", help="Seconds after which the run ends; what has finished by then is kept.", group=OWN),
]
Cache = Annotated[
    str | None,
    Parameter(name="--cache", help="A directory, or `off`; `.flowlib/` in the project unless given.", group=OWN),
]
OnError = Annotated[
    Literal["stop", "continue", "keep"] | None,
    Parameter(
        name="--on-error",
        help="Start nothing new, go on with other branches, or keep failures of a sweep as values.",
        group=OWN,
    ),
]
Progress = Annotated[
    bool | None, Parameter(name="--progress", negative="--no-progress", help="Show how far the run is.", group=OWN)
]
Force = Annotated[
    list[str] | None,
    Parameter(name="--force", negative=(), help="A task that runs whatever is stored. May be repeated.", group=OWN),
]
Tag = Annotated[
    list[str] | None,
    Parameter(name="--tag", negative=(), help="A word stored with the run. May be repeated.", group=OWN),
]
Json = Annotated[
    bool, Parameter(name="--json", show_default=False, negative=(), help="Write JSON to standard output.", group=OWN)
]


def cache_argument(text: str | None) -> str | bool | None:
    """Return what `run` takes for `--cache`.

    >>> cache_argument("off"), cache_argument("./off"), cache_argument(None)
    (False, './off', None)
    """
    return False if text == "off" else text
