"""Compare what a cluster's workers have with what this program has, before the first task goes there.

The probe is a text that is sent and evaluated: it must work where flowlib is missing, or is another version.
"""

import sys
from collections.abc import Mapping
from typing import Any

from flowlib.errors import ClusterTrouble
from flowlib.execution.onsite import versions

PROBE = """
def probe(names):
    import sys
    from importlib.metadata import PackageNotFoundError, version
    found = {"Python": ".".join(map(str, sys.version_info[:2]))}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found
"""

_MOST_NAMED = 3


def probe() -> Any:
    """Return the probe as a function that every pickler takes by value, because it says that it is the script's."""
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(PROBE, scope)
    return scope["probe"]


def needed(packages: Mapping[str, str]) -> dict[str, str]:
    """Return what workers must have, by name: Python, flowlib, cloudpickle, and what the run's tasks use."""
    python, flowlib, cloudpickle = versions()
    return {"Python": python, "flowlib": flowlib, "cloudpickle": cloudpickle, **packages}


def compare(cluster: str, here: Mapping[str, str], there: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse workers that do not fit.

    Args:
        cluster: What people call it.
        here: What they must have: names and versions.
        there: What each has.

    Raises:
        ClusterTrouble: There is none, or one has something else; the error holds the table.
    """
    if not there:
        raise ClusterTrouble(f"No worker of {cluster} answers.", {}, "Start workers, or look at the cluster's own log.")
    rows: dict[str, str] = {}
    for name, version in here.items():
        others: dict[str, list[str]] = {}
        for worker, found in there.items():
            if found.get(name, "") != version:
                others.setdefault(found.get(name, ""), []).append(worker)
        if others:
            rows[name] = f"{version:<12} here\n" + "\n".join(
                f"{other or 'none':<12} on {_named(workers)}" for other, workers in others.items()
            )
    if rows:
        hint = f"Install the same versions there. This program's interpreter: {sys.executable}"
        raise ClusterTrouble(f"The workers of {cluster} do not fit this program.", rows, hint)


def _named(workers: list[str]) -> str:
    named = ", ".join(workers[:_MOST_NAMED])
    left = len(workers) - _MOST_NAMED
    return named if left <= 0 else f"{named} and {left} more"
