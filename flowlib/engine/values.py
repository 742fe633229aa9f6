"""Which values are in memory, which are in the store, and in what form a consumer gets them.

Invariant: a value in memory is handed to a consumer as it is only when it is immutable, or when the consumer is the last
one and nobody else can hold a part of it; every other consumer gets a copy of its own, or is watched. A value leaves
memory after its last consumer. What could not be loaded once is made again and not asked of the store a second time.
Arrays that are stored leave it earlier, once those in memory take up `ARRAYS_BYTES`: their consumers map the files.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from flowlib.execution.base import Given, Input, Shared, Stored
from flowlib.execution.sharing import is_immutable
from flowlib.graph.args import ATOMS
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.ids import Digest, Key, NodeId
from flowlib.scheduling.scheduler import Scheduler
from flowlib.store.base import BlobLost, Entry, Payload, Store
from flowlib.store.blobs import MAP_FROM_BYTES
from flowlib.store.codec_arrays import is_array
from flowlib.sweep.failed import Failed

ARRAYS_BYTES = 256 * 1024 * 1024
"""How much of stored arrays is kept in memory for consumers; a wide fan-out of them would fill it otherwise."""

_NOTHING: Mapping[Node, Any] = MappingProxyType({})
_KEPT_PAYLOADS = 1 << 17
_KEPT_BYTES = 256
"""At most so many points of a sweep, with so many bytes each, are kept as the look-up found them (some 60 MB), so that a
reduction need not look them up again."""
_UNKNOWN_S = 1.0
"""Expected seconds of a task without history; only the ratio to others matters, for the critical path."""


class Values:
    """The values of one run.

    Args:
        graph: The graph; it may grow.
        store: Where results are kept; None when caching is off.
        scheduler: Knows how many consumers are left.
        targets: Nodes whose values the user will get.
        outputs: Digest of each known output: what a stored value must be to be used.
    """

    def __init__(
        self,
        graph: Graph,
        store: Store | None,
        scheduler: Scheduler,
        targets: frozenset[NodeId],
        outputs: Mapping[NodeId, Digest],
    ) -> None:
        self._graph = graph
        self._store = store
        self._scheduler = scheduler
        self._targets = targets
        self._are_reduced = False
        self._outputs = outputs
        self._live: dict[NodeId, Any] = {}
        self._shared: dict[NodeId, Shared] = {}
        self._keys: dict[NodeId, Key] = {}
        self._payloads: dict[NodeId, Payload] = {}
        self._borrowed: set[NodeId] = set()
        self._lost: set[NodeId] = set()
        self._array_bytes: dict[NodeId, int] = {}
        self._n_array_bytes = 0
        self._expected_s: dict[str, float] = {}

    def __getitem__(self, number: NodeId) -> Any:
        return self._live[number]

    def has(self, number: NodeId) -> bool:
        """Whether the value is in memory or in the store."""
        return number in self._live or number in self._keys

    def is_dropped(self, number: NodeId) -> bool:
        """Whether the node ended with a value that is neither in memory nor in the store any more."""
        return self._scheduler.has_value(number) and not self.has(number)

    def lacking(self, number: NodeId, skip: frozenset[NodeId]) -> NodeId | None:
        """Return a dependency whose value was there and is not any more; None if a job can start. O(dependencies)."""
        keys, live = self._keys, self._live
        for dependency in self._graph.dependencies[number]:
            is_here = dependency in keys or dependency in live
            if not is_here and dependency not in skip and self._scheduler.has_value(dependency):
                return dependency
        return None

    def is_shared(self, number: NodeId) -> bool:
        """Whether more than one node needs the value."""
        return len(self._scheduler.dependents(number)) > 1

    def key_of(self, number: NodeId) -> Key | None:
        """Return the key under which the value is stored; None if it is not."""
        return self._keys.get(number)

    def expect_reductions(self) -> None:
        """Take note that reductions of this run will read their points from the store."""
        self._are_reduced = True

    def stored(self, number: NodeId, entry: Entry) -> None:
        """Take note that a value is in the store.

        Where a target's bytes are is remembered for `fetch`; so are the bytes of a reduction's point, if they are few.
        """
        self._keys[number] = entry.key
        if number in self._targets or (self._are_reduced and self._is_kept(number, entry.payload)):
            self._payloads[number] = entry.payload
        elif self._payloads:
            self._payloads.pop(number, None)  # decided anew: what it was before is not its value any more

    def _is_kept(self, number: NodeId, payload: Payload) -> bool:
        is_small = payload.inline is not None and len(payload.inline) <= _KEPT_BYTES
        return is_small and len(self._payloads) < _KEPT_PAYLOADS and self._only_streamed(number)

    def made(self, number: NodeId, value: Any, key: Key | None) -> None:
        """Take a value that a job made; `key` if it was stored, too."""
        if self._payloads:
            self._payloads.pop(number, None)
        if key is not None:
            self._keys[number] = key
            if number not in self._targets and number not in self._lost:
                if self._only_streamed(number):
                    return  # reductions read it from the store, so that a fan-out of any size holds a bounded number of values
                if type(value) not in ATOMS and is_array(value) and not self._has_room(number, value.nbytes):
                    return
        self._live[number] = value

    def made_unkept(self, values: Mapping[NodeId, Any]) -> None:
        """Take values that calls made in a run that stores nothing, so that there are no payloads to forget."""
        self._live.update(values)

    def _has_room(self, number: NodeId, n_bytes: int) -> bool:
        """Say whether an array may stay in memory, and count it if so. The first one always may, whatever its size."""
        if n_bytes >= MAP_FROM_BYTES:
            if self._n_array_bytes >= ARRAYS_BYTES:
                return False
            self._array_bytes[number] = n_bytes
            self._n_array_bytes += n_bytes
        return True

    def kept(self, number: NodeId, key: Key | None) -> None:
        """Take note that a value that was made is stored by now."""
        if key is not None:
            self._keys[number] = key

    def lose(self, number: NodeId) -> None:
        """Forget a value that cannot be loaded."""
        self._keys.pop(number, None)
        self._payloads.pop(number, None)
        self._lost.add(number)
        self.drop((number,))

    def borrowed(self, numbers: Iterable[NodeId]) -> None:
        """Take note of values that may share memory: from now on none of them is handed over as it is."""
        self._borrowed.update(numbers)

    def spoilt(self, numbers: Iterable[NodeId]) -> None:
        """Forget values that a task has changed, and all that may share memory with them."""
        changed = set(numbers)
        for number in changed | (self._borrowed if changed & self._borrowed else set()):
            self.lose(number)

    def drop(self, numbers: Iterable[NodeId]) -> None:
        """Let go of values nobody will ask for. What stands for a failure stays: it could not be made again."""
        live, shared, states, payloads = self._live, self._shared, self._scheduler.states, self._payloads
        for number in numbers:
            if states[number] != "failed" and states[number] != "timed_out":
                live.pop(number, None)
                if payloads and number not in self._targets:
                    payloads.pop(number, None)
                if shared:
                    shared.pop(number, None)
                if self._array_bytes:
                    self._n_array_bytes -= self._array_bytes.pop(number, 0)

    def fetch(self, number: NodeId) -> bool:
        """Load a target into memory; False when its stored value is lost."""
        if number in self._live or self._store is None:
            return True
        payload = self._payloads.pop(number, None) or self._payload(self._keys[number], self._store)
        if payload is None or not payload.kept:
            return False
        try:
            self._live[number] = self._store.load(payload)
        except BlobLost:
            return False
        return True

    def restore_files(self, entry: Entry) -> bool:
        """Put back files that belong to a stored result and are missing or changed; False if that is not possible."""
        if "files" not in entry.flags or self._store is None:
            return True
        try:
            self._store.load(entry.payload)
        except BlobLost:
            return False
        return True

    def plain_arguments(self, args: tuple[Any, ...], made: Mapping[Node, Any] = _NOTHING) -> tuple[Any, ...] | None:
        """Return a call's arguments with values for nodes, if all are scalars in memory, or lists and tuples of them.

        None if a job has to bring them together. A list is a new one: what the task does to it nobody else sees.

        Args:
            args: The arguments.
            made: Values that the engine has not taken yet: those of earlier calls of the same batch. With them, it is the
                thread of the batch that asks; nothing it needs is dropped before its calls have ended.
        """
        if ATOMS.issuperset(map(type, args)):
            return args
        values = self._scalars(args, made)
        if ATOMS.issuperset(map(type, values)):
            return tuple(values)
        for position, value in enumerate(values):
            kind = type(value)
            if kind is tuple or kind is list:
                items = self._scalars(value, made)
                if not ATOMS.issuperset(map(type, items)):
                    return None
                values[position] = items if kind is list else tuple(items)
            elif kind not in ATOMS:
                return None
        return tuple(values)

    def _scalars(self, items: Iterable[Any], made: Mapping[Node, Any]) -> list[Any]:
        """Return items with values for nodes; a node whose value is not in memory stays."""
        if made:
            items = [made.get(item, item) if type(item) is Node else item for item in items]
        live, id_of = self._live, self._graph.id_of
        return [live.get(id_of(item), item) if type(item) is Node else item for item in items]

    def inputs(self, number: NodeId, skip: frozenset[NodeId]) -> dict[Node, Input]:
        """Return where a job finds each of its node's inputs, `skip` left out. A node may be tried again if it fails."""
        wanted = self._graph.dependencies[number]
        keeps = self._graph.nodes[number]._fl_policy.retries is not None
        return self.inputs_from([d for d in wanted if d not in skip] if skip else wanted, keeps=keeps)

    def inputs_from(self, numbers: Iterable[NodeId], *, keeps: bool = False) -> dict[Node, Input]:
        """Return where a job finds the values of some nodes.

        Args:
            numbers: The nodes.
            keeps: Whether what is nowhere else stays here, because the job may have to be done again.
        """
        nodes, live, payloads = self._graph.nodes, self._live, self._payloads
        return {
            nodes[number]: payloads[number] if number in payloads and number not in live else self._input(number, keeps)
            for number in numbers
        }

    def expected_s(self, task: str) -> float:
        """Return how long a task took on average in the past; one second without history."""
        if task not in self._expected_s:
            stats = self._store.stats(task) if self._store is not None else None
            self._expected_s[task] = stats.mean_s if stats is not None else _UNKNOWN_S
        return self._expected_s[task]

    def _input(self, number: NodeId, keeps: bool) -> Input:
        key = self._keys.get(number)
        if number not in self._live:
            return Stored(key, self._outputs.get(number)) if key is not None else Given(self._stand_in(number))
        value = self._live[number]
        is_last = self._scheduler.consumers_left(number) <= 1 and number not in self._targets
        if is_immutable(value):
            return Given(value)
        if is_last and number not in self._borrowed and not (keeps and key is None):
            self.drop(
                (number,)
            )  # it is the consumer's now; who needs it again, after a loss, must not get it as it is then
            return Given(value)
        shared = self._shared.setdefault(number, Shared(value))
        if key is None or number in self._lost:
            return shared
        return Stored(key, self._outputs.get(number), spare=shared)

    def _stand_in(self, number: NodeId) -> Failed:
        """Return what a node that runs in any case gets for a dependency that never ran."""
        node, state = self._graph.nodes[number], self._scheduler.states[number]
        return Failed(error_type="NotRun", message=f"it was {state}", task=node._fl_task.name, label=node._fl_label)

    def _payload(self, key: Key, store: Store) -> Payload | None:
        entry = store.find([key]).get(key)
        return entry.payload if entry is not None else None

    def _only_streamed(self, number: NodeId) -> bool:
        dependents, nodes = self._scheduler.dependents(number), self._graph.nodes
        for dependent in dependents:  # a loop: `all` would take twice as long for one dependent, which most points have
            if not nodes[dependent]._fl_task.streams:
                return False
        return bool(dependents)
