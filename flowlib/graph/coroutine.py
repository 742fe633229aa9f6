"""Run a coroutine to its end from ordinary code, also where an event loop is already running, as in notebooks."""

import inspect
from collections.abc import Callable
from typing import Any


def finish(result: Any) -> Any:
    """Return what a coroutine returns; anything else is already a result.

    >>> async def answer() -> int:
    ...     return 42
    >>> finish(answer()), finish(42)
    (42, 42)
    """
    if not inspect.iscoroutine(result):
        return result
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(result)
    return _in_thread(lambda: asyncio.run(result))


def _in_thread(call: Callable[[], Any]) -> Any:
    """Call in a thread of its own, with this thread's context: an event loop is already running here."""
    import contextvars
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=1) as threads:
        return threads.submit(contextvars.copy_context().run, call).result()
