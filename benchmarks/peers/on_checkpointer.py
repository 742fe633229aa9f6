"""checkpointer: a pickle file per call, keyed by the code reached; written in place, not synced."""

from checkpointer import Checkpointer

from benchmarks.peers.eager import Eager

REQUIRES = ("checkpointer", "numpy")

_eager = Eager(lambda fn, directory: Checkpointer(directory=directory, verbosity=0)(fn))
cached, chain_cached, arrays, array = _eager.cached, _eager.chain_cached, _eager.arrays, _eager.array
