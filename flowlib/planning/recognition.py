"""Recognise the targets of a run by their recipes, so that nothing above them has to be looked at.

Theory of operation: a run that came to a plain end notes for each target: recipe -> key and output (`remember`). A later
run asks for these notes first. If all of its targets are known and their entries are still good, they are hits, and what
is above them is *covered*: neither named by a key, nor looked up, nor announced one by one. If any is not, nobody is
recognised and every node is decided by its key, with early cut-off.

Why all or none: nodes that an open target needs are decided by keys anyway, and one run then speaks of each node in one
way only.

Many targets with little above them, such as all points of a sweep, are noted together: one recipe -> all keys, and a
digest of all outputs.

Rules:
1. A note counts only together with the *generation* in which it was made: a random token that the store keeps. It is
   replaced whenever a stored result may give way to another one under the same key (`set_aside`), and forgotten when
   results are removed. So a recipe never outlives a change that keys alone would have noticed: somebody forced a task to
   fetch its data anew, or removed a result to have it made again.
2. The generation is read before anything is looked up. What a run learns from look-ups that a change may have overtaken
   is noted in a generation that is over.
3. A run that set recipes aside itself notes nothing. The next one does.

What is left: a task whose output differs from call to call, whose entry was lost to damage, and was then made again by a
run of another target. Its older dependents are still recognised, with the output that they were made from.
"""

import hashlib
import marshal
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from flowlib.graph.graph import Graph
from flowlib.ids import Digest, Key, NodeId
from flowlib.planning.key import KeyMaker
from flowlib.planning.recipe import Recipes
from flowlib.store.base import GENERATION, Entry, Store

_FORMAT = 1
_MARSHAL_VERSION = 2
_PREFIX = "recipe:"
_NOTHING = (Key(""), "")
_TOGETHER_FROM = 32
"""Fewer targets are decided by their keys before a note of all of them is found."""
_MOST_TOGETHER = 1 << 20
_KEY_DIGITS = 64


class Recognition:
    """What is known of the targets of one run by their recipes.

    Args:
        graph: The graph as it is when the run starts.
        store: Where notes and entries are.
        keys: Makes recipes and keys for this run.
        force: Names of tasks that run whatever is stored.
    """

    def __init__(self, graph: Graph, store: Store, keys: KeyMaker, force: Collection[str]) -> None:
        self._graph, self._store, self._keys, self._force = graph, store, keys, force
        self._recipes: dict[NodeId, str] = {}
        """The recipes of the targets that are worth one."""
        self._joint = ""
        """The recipe of all targets together; empty if they have none, or are not worth one."""
        self._order: Sequence[NodeId] = ()
        """The targets as that recipe names them."""
        self._targets: Sequence[NodeId] = ()
        self._generation = b""
        """Empty until it is known, and when there is none."""
        self._noted: dict[str, bytes] = {}
        self._is_void = False

    def entries(self, targets: Sequence[NodeId]) -> list[Entry] | None:
        """Return the entry of each target if all are recognised, else None. Cost: `Recipes`, and two look-ups."""
        self._targets = targets
        n_nodes, needed = len(self._graph), self._graph.dependencies
        deep = [target for target in targets if needed[target]]
        if 2 * len(deep) > n_nodes:
            deep = []  # there is little above each of them: to note them one by one costs more than it saves
        is_flat = 2 * len(targets) > n_nodes
        is_joint = is_flat and _TOGETHER_FROM <= len(targets) <= _MOST_TOGETHER
        if not deep and not is_joint:
            return None
        recipes = Recipes(self._graph, self._keys, self._force)
        self._recipes = recipes.of(deep)
        if is_joint:
            self._joint, self._order = recipes.together(targets)
        if not self._recipes and not self._joint:
            return None
        names = [_PREFIX + recipe for recipe in (*self._recipes.values(), self._joint) if recipe]
        self._noted = self._store.notes([GENERATION, *names])
        self._generation = self._noted.pop(GENERATION, b"")
        if self._joint:
            return self._found_together()
        return None if is_flat or len(self._recipes) < len(deep) else self._found_singly()

    def _found_singly(self) -> list[Entry] | None:
        """Return the entries of targets that are noted one by one. A target without dependencies has its recipe for a key."""
        needed = self._graph.dependencies
        known = [self._known(target) if needed[target] else self._by_key(target) for target in self._targets]
        if any(not key for key, _ in known):
            return None
        found = self._store.find([key for key, _ in known])
        entries = [found[key] for key, output in known if _is_good(found.get(key), output)]
        return entries if len(entries) == len(known) else None

    def _found_together(self) -> list[Entry] | None:
        """Return the entries of targets that are noted together. Cost: the look-up, half a microsecond each."""
        fields = self._fields(self._joint)
        if fields is None:
            return None
        digits, outputs = fields[0].hex(), fields[1]
        keys: list[Key] = [digits[at : at + _KEY_DIGITS] for at in range(0, len(digits), _KEY_DIGITS)]
        found = self._store.find(keys)
        entries = [found[key] for key in keys if key in found]
        if len(entries) != len(self._order) or _digest_of_all(entry.output for entry in entries) != outputs:
            return None
        entry_of = dict(zip(self._order, entries, strict=True))
        return [entry_of[target] for target in self._targets] if all(map(is_plain, entries)) else None

    def prepare(self) -> None:
        """Make sure that there is a generation before the first look-up of a run that may have something to note."""
        if (self._recipes or self._joint) and not self._generation:
            self._generation = _new_generation()
            self._store.put_notes({GENERATION: self._generation})

    def remember(self, key_of: Callable[[NodeId], Key | None], outputs: Mapping[NodeId, Digest]) -> None:
        """Note what the targets gave, in a run in which every node was found or kept, and nothing else happened.

        Args:
            key_of: The key under which a target's value is in the store; None if it is not.
            outputs: Digest of each known output.
        """
        if self._is_void or not self._generation or not self._keys.is_steady:
            return
        notes = {}
        for target, recipe in self._recipes.items():
            if (key := key_of(target)) and target in outputs:
                notes[_PREFIX + recipe] = self._note(key, outputs[target])
        if self._joint:
            keys = [key for key in map(key_of, self._order) if key]
            known = [outputs[target] for target in self._order if target in outputs]
            if len(keys) == len(known) == len(self._order):
                notes[_PREFIX + self._joint] = self._note(bytes.fromhex("".join(keys)), _digest_of_all(known))
        new = {name: note for name, note in notes.items() if self._noted.get(name) != note}
        if new:
            self._store.put_notes(new)

    def _note(self, *fields: Any) -> bytes:
        return marshal.dumps((_FORMAT, self._generation, *fields), _MARSHAL_VERSION)

    def set_aside(self) -> None:
        """Make every recipe in the store unknown: a stored result may be about to give way to another one."""
        self._is_void = True
        self._store.put_notes({GENERATION: _new_generation()})

    @property
    def is_void(self) -> bool:
        """Whether this run has set recipes aside."""
        return self._is_void

    def _known(self, target: NodeId) -> tuple[Key, str]:
        """Return the key and the output that are noted for a target; nothing if there is no note of this generation."""
        return self._fields(self._recipes[target]) or _NOTHING

    def _fields(self, recipe: str) -> Any:
        """Return the two fields of the note about a recipe; None if there is no note of this generation."""
        note = self._noted.get(_PREFIX + recipe)
        fields: Any = marshal.loads(note) if note is not None else None
        return fields[2:] if type(fields) is tuple and fields[:2] == (_FORMAT, self._generation) else None

    def _by_key(self, target: NodeId) -> tuple[Key, str]:
        """Return the key of a target without dependencies; its output may be any."""
        node = self._graph.nodes[target]
        key = self._keys.key_of(node, lambda _: None).key
        return _NOTHING if key is None or node._fl_task.name in self._force else (key, "")


def _is_good(entry: Entry | None, output: str) -> bool:
    """Whether an entry will do for a target that gave this output, if that is known."""
    return entry is not None and is_plain(entry) and output in ("", entry.output)


def is_plain(entry: Entry) -> bool:
    """Whether a result depends on nothing beyond its key and stays valid: no file, no time."""
    return entry.expires_at is None and not entry.watch and "files" not in entry.flags


def _digest_of_all(outputs: Iterable[Digest]) -> bytes:
    return hashlib.sha256("".join(outputs).encode()).digest()


def _new_generation() -> bytes:
    return os.urandom(16)
