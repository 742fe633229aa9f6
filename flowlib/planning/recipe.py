"""Recipes: what a node is made of, all the way up, named without knowing any result.

Theory of operation: a recipe is made like a key, but where a key has the digest of an input's output, a recipe has the
input's own recipe. So it needs no look-up on the way. Each node gets a *name*: the tag of its task (code, version,
environment, parameter names) and its arguments, with the names of other nodes in their places. A short name stays as it
is, a long one is replaced by its SHA-256: a call with plain arguments costs no hash of its own.

Rules: a recipe tells apart whatever keys tell apart; it may tell apart more (a NaN from another, equal nodes that are
not shared), which only means that it is not recognised. It is cut off from keys and digests by its scheme and by living
in records of its own. It is made of content that users choose, so the hash is SHA-256, as for keys.

Invariant: all or nothing. A node has no recipe when it, or any node above it, may give something else another time, or
has to do something although its result is stored: no key, a time to live, an equality policy, a node behind an ignored
parameter, a task that is forced.

Cost: half a microsecond for a call of plain scalars, one to two for a call of other nodes.
"""

import hashlib
import marshal
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from flowlib.graph.args import ATOMS, Composite, Quoted, children, nodes_in, replace
from flowlib.graph.containers import role_of
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.hashing.leaf import DigestLeaf
from flowlib.ids import NodeId
from flowlib.planning.key import KeyMaker
from flowlib.planning.shared import TaskPart

SCHEME = b"flowlib-recipe-1"
"""Changes with anything that changes a name. Nothing is lost then: targets are recognised again after their next run."""
_SCHEME_OF_MANY = b"flowlib-recipes-1"

_MARSHAL_VERSION = 2  # unchanged since Python 2.5; each exact type has a mark of its own, and there are no references
_LONGEST_NAME = 96
_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
"""Types that `marshal` writes so that different values have different bytes. It takes buffers for bytes: never others."""
_ONLY_NODES = {Node}
_FLAT = _SCALARS | {Node}
_OPEN = frozenset({"list", "tuple", "dict", "set", "frozenset", "slice"})

Name = bytes


class NoRecipe(Exception):
    """A node has none. Raised and caught inside this module."""


class Recipes:
    """The recipes of the nodes of a graph, in hex.

    Args:
        graph: What does not lie above a node counts for nothing in its recipe.
        keys: Knows versions of code and digests of arguments, the same for recipes and for keys.
        force: Names of tasks that run whatever is stored.

    Cost: a name for every node of the graph; 100 bytes a node.
    """

    def __init__(self, graph: Graph, keys: KeyMaker, force: Collection[str]) -> None:
        self._graph, self._keys, self._force = graph, keys, force
        self._names: list[Name | None] = []
        self._name_all()

    def of(self, wanted: Iterable[NodeId]) -> dict[NodeId, str]:
        """Return the recipe of each node that has one."""
        found = [(number, self._names[number]) for number in wanted]
        return {number: hashlib.sha256(SCHEME + name).hexdigest() for number, name in found if name is not None}

    def together(self, wanted: Sequence[NodeId]) -> tuple[str, list[NodeId]]:
        """Return one recipe of some nodes, whatever their order, and the order in which it names them.

        It is that of no other nodes and of no single one; empty if one of them has none. A set of nodes has another order
        in each process.
        """
        names: list[Any] = self._names
        if any(names[number] is None for number in wanted):
            return "", []
        order = sorted(wanted, key=names.__getitem__)
        named = marshal.dumps([names[number] for number in order], _MARSHAL_VERSION)
        return hashlib.sha256(_SCHEME_OF_MANY + named).hexdigest(), order

    def _name_all(self) -> None:
        """Name every node. The inner loop: half a microsecond a node."""
        names, dependencies, dumps = self._names, self._graph.dependencies, marshal.dumps
        task = policy = tag = shared = None
        for number, node in enumerate(self._graph.nodes):
            if node._fl_task is not task or node._fl_policy is not policy:
                task, policy = node._fl_task, node._fl_policy
                shared = self._keys.shared_by_calls(node)
                tag = None if task.name in self._force else shared.tag
            if tag is None or shared is None:
                names.append(None)
                continue
            args: Any = node._fl_args
            needed = dependencies[number]
            if needed or shared.ignores or not _SCALARS.issuperset(map(type, args)):
                try:
                    args = self._arguments(node, needed, shared)
                except Exception:  # refused, or a hook of the user's own class raised: its key will say what is wrong
                    names.append(None)
                    continue
            name = tag + dumps(args, _MARSHAL_VERSION)
            names.append(name if len(name) <= _LONGEST_NAME else hashlib.sha256(name).digest())

    def _arguments(self, node: Node, needed: Sequence[NodeId], shared: TaskPart) -> Any:
        """Return what stands for the arguments of a call: a list, which a tuple of scalars is never taken for.

        Scalars stand for themselves, tuples for everything else.
        """
        names, id_of = self._names, self._graph.id_of
        if len(needed) == 1 == len(node._fl_args) and type(node._fl_args[0]) is Node and not shared.ignores:
            return ["node", self._known(needed[0])]  # as in a chain
        stand_ins: list[Any] = []
        for field, value in zip(shared.fields, node._fl_args, strict=True):
            kind = type(value)
            if field is None:  # ignored; but a node in it would have to be decided, too
                if kind not in ATOMS and nodes_in([value], str):
                    raise NoRecipe
            elif kind in _SCALARS:
                stand_ins.append(value)
            elif kind is Node and (name := names[id_of(value)]) is not None:
                stand_ins.append(("node", name))
            else:
                stand_ins.append(self._stand_in(value, field))
        return ["call", *stand_ins]

    def _stand_in(self, value: Any, field: bytes) -> tuple[Any, ...]:
        kind = type(value)
        if kind is Node:
            raise NoRecipe
        if isinstance(value, Composite):
            members = self._names_of(value.member_nodes())
            return ("composite", kind.__name__, members, self._keys.digest_of(value.identity()))
        if kind is tuple and value and all(type(item) is Quoted for item in value):
            return ("quoted", [self._name_of(item.node) for item in value])
        if kind is list or kind is tuple:
            kinds = set(map(type, value))
            if kinds == _ONLY_NODES:
                return (kind.__name__, self._names_of(value))
            if kind is tuple and kinds <= _FLAT:  # as of `*args`
                return ("items", *[("node", self._name_of(item)) if type(item) is Node else item for item in value])
        if nodes_in([value], str):
            if not _is_plain(value):
                raise NoRecipe
            mixed = replace(value, self._leaf, as_argument=True)
            return ("mixed", self._keys.digest_of(mixed))
        return ("value", self._keys.watched_digest(value, field))

    def _leaf(self, node: Node) -> DigestLeaf:
        return DigestLeaf(hashlib.sha256(self._name_of(node)).hexdigest())

    def _names_of(self, nodes: Iterable[Node]) -> list[Name]:
        """Return the names of many nodes, without a call for each."""
        names = [*map(self._names.__getitem__, self._graph.ids_of(nodes))]
        if None in names:
            raise NoRecipe
        return names  # type: ignore[return-value]

    def _name_of(self, node: Node) -> Name:
        return self._known(self._graph.id_of(node))

    def _known(self, number: NodeId) -> Name:
        name = self._names[number]
        if name is None:
            raise NoRecipe
        return name


def _is_plain(value: Any) -> bool:
    """Whether a container holds only plain containers, nodes, and values that cannot change: no file, no object."""
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) in ATOMS or type(item) is Node:
            continue
        if role_of(type(item)) not in _OPEN:
            return False
        stack.extend(children(item) or ())
    return True
