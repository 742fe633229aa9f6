"""Where a run works beside its own process: opened for the first job that goes there, and closed with the run.

Runs inside tasks share what the run around them has opened. What the user made (a client, an executor) is used and left
alone.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowlib.errors import ConfigError, MissingExtra
from flowlib.graph.task import Task
from flowlib.hashing.distribution import is_installed
from flowlib.hashing.identity import Identity
from flowlib.store.files import Files

if TYPE_CHECKING:
    from flowlib.execution.cluster import Cluster
    from flowlib.execution.onsite import Token


class Clusters:
    """The clusters of one `flowlib.run` call, and the tokens by which their workers know its cache directories."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Any, Cluster] = {}
        self._tokens: dict[Path, Token | None] = {}

    def get(self, executor: Any, n_workers: int, packages: Callable[[], Mapping[str, str]]) -> "Cluster":
        """Return what an executor's name or object stands for, opening it if nobody has.

        Args:
            executor: A name such as "dask://host:8786", a client, an executor.
            n_workers: How many workers one that is made for the run gets; 0 for as many as there are processors.
            packages: Returns the installed packages that the run's tasks use, with their versions.

        Raises:
            MissingExtra: A package is not installed.
            ClusterTrouble: It cannot be reached, or its workers do not fit.
        """
        mark = executor if isinstance(executor, str) else id(executor)
        with self._lock:
            if mark not in self._open:
                self._open[mark] = _opened(executor, n_workers, packages)
            return self._open[mark]

    def token(self, root: Path) -> "Token | None":
        """Return what shows a worker that it sees a cache directory; None if nothing can be written there."""
        with self._lock:
            if root not in self._tokens:
                self._tokens[root] = _written(root)
            return self._tokens[root]

    def close(self) -> None:
        """Let go of everything. Never raises for what a cluster does."""
        with self._lock:
            opened, self._open = self._open, {}
            tokens, self._tokens = self._tokens, {}
        for token in tokens.values():
            if token is not None:
                _remove(Path(token.path))
        for cluster in opened.values():
            cluster.close()


def _opened(executor: Any, n_workers: int, packages: Callable[[], Mapping[str, str]]) -> "Cluster":
    if _is_of(executor, "concurrent.futures", "Executor"):
        from flowlib.execution.on_futures import FutureCluster

        return FutureCluster(executor)
    kind = executor.partition(":")[0] if isinstance(executor, str) else "dask" if _is_client(executor) else ""
    if kind == "dask":
        with _naming(kind):
            from flowlib.execution.on_dask import open_dask
        return open_dask(executor, n_workers, packages())
    if kind == "ray":
        with _naming(kind):
            from flowlib.execution.on_ray import open_ray
        return open_ray(executor, n_workers, packages())
    raise ConfigError(
        f"There is no executor {type(executor).__name__} that flowlib knows.",
        {"executor": repr(executor)[:80]},
        "Give a name, an object of concurrent.futures, or a client of dask.distributed.",
    )


@contextlib.contextmanager
def _naming(extra: str) -> Iterator[None]:
    """Say which extra is missing if a package is."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("flowlib"):
            raise
        raise MissingExtra(feature=f'executor="{extra}"', extra=extra) from None


def counts_for_itself(executor: object) -> bool:
    """Whether an executor is a cluster, which knows better than this machine what resources its workers have."""
    if isinstance(executor, str):
        return executor.partition(":")[0] in ("dask", "ray")
    return _is_client(executor)


def is_thread_pool(executor: object) -> bool:
    """Whether an executor is a pool of threads of the user's. Loads nothing."""
    if not _is_of(executor, "concurrent.futures", "ThreadPoolExecutor"):
        return False
    from flowlib.execution.on_futures import is_threads

    return is_threads(executor)


def _is_of(value: object, module: str, name: str) -> bool:
    """Whether a value is an instance of a class whose module may not even be loaded."""
    if isinstance(value, str):
        return False
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and isinstance(value, found)


def _is_client(value: object) -> bool:
    return _is_of(value, "distributed", "Client")


def packages_of(tasks: Iterable[Task[..., Any]], identity: Identity) -> dict[str, str]:
    """Return the installed packages that tasks use, with their versions."""
    found: dict[str, str] = {}
    for task in {id(task.fn): task for task in tasks}.values():
        try:
            parts = identity.code_version(task.fn).parts
        except Exception:  # it has no code that could be known
            continue
        for part in parts:
            name, _, version = part.partition(" ")
            if version and is_installed(name, version):
                found[name] = version
    return found


def _written(root: Path) -> "Token | None":
    from flowlib.execution.onsite import Token

    text = os.urandom(16).hex()
    path, files = root / "tmp" / f"seen-{text[:12]}", Files()
    try:
        descriptor = files.create(path)
        try:
            files.write(descriptor, [text.encode()])
        finally:
            files.close(descriptor)
    except OSError:
        return None
    return Token(str(path), text)


def _remove(path: Path) -> None:
    try:
        Files().remove(path)
    except OSError:
        return
