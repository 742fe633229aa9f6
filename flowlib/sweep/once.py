"""What is made when somebody asks for it, once, and kept from then on."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """A value that is made at the first call, by whichever thread comes first; all get the same one.

    >>> numbers = Once(lambda: [1, 2])
    >>> numbers() is numbers()
    True
    """

    __slots__ = ("_lock", "_made", "_make")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make: Callable[[], T] | None = make
        self._lock = threading.Lock()

    @classmethod
    def of(cls, made: T) -> "Once[T]":
        """Return a value that is there already, in the same form."""
        once = cls(lambda: made)
        once()
        return once

    def __call__(self) -> T:
        """Return the value. What making it raises goes to the caller, and the next one tries again."""
        if self._make is not None:
            with self._lock:
                if self._make is not None:
                    self._made: T = self._make()
                    self._make = None  # last: until then other threads wait
        return self._made
