"""The collector of cycles is paused, and left as it was found."""

import gc

import pytest

from flowlib.collector import collector_paused


def pause_twice_and_raise() -> None:
    """Raise an error inside a pause, after another one has ended."""
    with collector_paused():
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise ZeroDivisionError


@pytest.mark.parametrize("is_on", [True, False])
def test_the_collector_is_left_as_it_was_found(is_on: bool) -> None:
    """Also by an error, and by a pause inside a pause."""
    was_on = gc.isenabled()
    try:
        (gc.enable if is_on else gc.disable)()
        with pytest.raises(ZeroDivisionError):
            pause_twice_and_raise()
        assert gc.isenabled() is is_on
    finally:
        (gc.enable if was_on else gc.disable)()
