"""The collector of cycles, kept away from work that makes thousands of objects which all stay."""

import gc


class collector_paused:  # noqa: N801  # used like a function
    """Keep the collector from looking at new objects over and over while more of them are made.

    It is a switch of the whole process, so it is held for milliseconds and given back as it was found.

    >>> import gc
    >>> with collector_paused():
    ...     gc.isenabled()
    False
    >>> gc.isenabled()
    True
    """

    __slots__ = ("_was_on",)

    def __enter__(self) -> None:
        self._was_on = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_on:
            gc.enable()
