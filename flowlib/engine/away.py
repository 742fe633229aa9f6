"""Work that leaves the process: what a run tells those who do it."""

import os
import sys

from flowlib.config import environment, scratch_directory
from flowlib.engine.context import RunContext
from flowlib.execution.processes import ProcessExecutor
from flowlib.execution.threads import ThreadExecutor
from flowlib.execution.wire import Place, Terms
from flowlib.execution.worker import Worker
from flowlib.store.local import LocalStore


def away_executor(threads: ThreadExecutor, worker: Worker, context: RunContext) -> ProcessExecutor:
    """Return a run's door to the worker processes of this program; outcomes come out where those of its threads do."""
    store = context.store
    terms = Terms(
        run=context.run,
        root=str(store.root) if isinstance(store, LocalStore) else None,
        fsync=context.settings.fsync,
        strict=context.settings.strict,
        place=place_here(),
    )
    scratch = store.root / "tmp" if isinstance(store, LocalStore) else scratch_directory()
    return ProcessExecutor(worker, terms, context.settings.n_processes, threads.outbox, scratch)


def place_here() -> Place:
    """Return the surroundings of this process."""
    main = sys.modules.get("__main__")
    return Place(
        cwd=os.getcwd(),
        environ=environment(),
        path=tuple(sys.path),
        main_file=getattr(main, "__file__", None),
        argv=tuple(sys.argv),
    )
