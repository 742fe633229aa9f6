"""Tokens for values that contain themselves.

Theory of operation: the value is laid out as a graph of containers. Its strongly connected components are taken children
first (Tarjan 1972); a component of one container without a loop is an ordinary container and gets the ordinary token. The
members of a true cycle are told apart by colour refinement: all start alike, and in each round those that see different
colours around them part, until nobody parts. Who is left with one colour cannot be told apart by any walk. The stable
colours, each with what it sees, describe the whole cycle; a member is that description and its colour.

Rules: colours are named by content only, so neither addresses nor the place where a walk entered the cycle matter, and
sets inside cycles need no order. The number of objects in a cycle counts: a list that is its only item differs from two
lists that hold each other. Outside cycles sharing leaves no trace, as everywhere.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import attrs

from flowlib.hashing.encoding import MAX_SIZE, Node, Refused, Walk, close, count, root_of, seal, undigestible
from flowlib.hashing.plain import SCALARS
from flowlib.hashing.table import encoder_for


@attrs.define(eq=False)
class Vertex:
    """A container of the value: its children are tokens, or containers by their number."""

    value: object
    node: Node
    rest: Iterator[object]
    children: list[bytes | int] = attrs.field(factory=list)
    extra: int = 0
    """Bytes that its own tokens stand for beyond what they show."""

    def successors(self) -> list[int]:
        """Return the containers among the children."""
        return [child for child in self.children if type(child) is int]


@attrs.define(eq=False)
class _Tokens:
    """Finished tokens by container, each with its extra."""

    graph: Sequence[Vertex]
    done: dict[int, tuple[bytes, int]] = attrs.field(factory=dict)

    def encode(self, number: int, colours: Mapping[int, bytes]) -> bytes:
        """Return the encoding of a container; members of its own cycle enter by colour."""
        vertex = self.graph[number]
        parts = []
        for child in vertex.children:
            if type(child) is bytes:
                parts.append(child)
            elif child in self.done:
                parts.append(self.done[child][0])
            else:
                parts.append(b"R" + colours[child])  # type: ignore[index]
        return close(vertex.node, parts)

    def extra(self, number: int) -> int:
        """Return what the children of a container stand for beyond what their tokens show."""
        vertex = self.graph[number]
        return vertex.extra + sum(self.done[child][1] for child in vertex.successors() if child in self.done)


def cyclic_token(value: object, walk: Walk, path: str) -> bytes:
    """Return the token of a value with cycles, and leave its extra in `walk`.

    Cost: linear for trees with parent links and linked lists of different items; quadratic at worst.
    """
    graph = _discover(value, walk, path)
    tokens = _Tokens(graph)
    for component in components([vertex.successors() for vertex in graph]):
        first = component[0]
        if len(component) > 1 or first in graph[first].successors():
            tokens.done.update(_cycle_tokens(component, tokens))
        else:
            tokens.done[first] = seal(tokens.encode(first, {}), tokens.extra(first))
    token, walk.extra = tokens.done[graph[0].successors()[0]]
    return token


def _discover(value: object, walk: Walk, path: str) -> list[Vertex]:
    """Take a value apart into its containers. Number 0 stands above the value itself."""
    root = root_of(value)
    graph = [Vertex(None, root, iter(root.children))]
    numbers: dict[int, int] = {}
    stack = [graph[0]]
    try:
        while stack:
            vertex = stack[-1]
            for child in vertex.rest:
                if id(child) in numbers:
                    vertex.children.append(numbers[id(child)])
                    continue
                token, made = _open(child, walk, vertex)
                if made is None:
                    vertex.children.append(token)
                    continue
                numbers[id(child)] = len(graph)
                vertex.children.append(len(graph))
                graph.append(Vertex(child, made, iter(made.children)))
                stack.append(graph[-1])
                break
            else:
                stack.pop()
    except Refused as refused:
        # Of all but the last the child in question is listed already.
        steps = [(vertex.node, len(vertex.children) - (vertex is not stack[-1])) for vertex in stack]
        raise undigestible(path, steps, refused) from refused.__cause__
    return graph


def _open(child: object, walk: Walk, vertex: Vertex) -> tuple[bytes, Node | None]:
    """Return a child's token, or the child taken apart."""
    known = walk.memo.get(id(child))
    if known is not None:
        vertex.extra += known[1]
        return known[0], None
    walk.extra = 0
    scalar = SCALARS.get(type(child))
    if scalar is not None:
        token = scalar(child, walk)
        vertex.extra += walk.extra
        return token, None
    made = encoder_for(type(child), walk)(child, walk)
    if isinstance(made, Node):
        return b"", made
    token, extra = seal(made, walk.extra)
    vertex.extra += extra
    walk.memo[id(child)] = (token, extra, child)
    return token, None


def components(successors: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the strongly connected components of a graph reachable from 0, successors first (Tarjan 1972).

    >>> list(components([[1], [2, 3], [1], []]))
    [[3], [2, 1], [0]]
    """
    order: dict[int, int] = {0: 0}
    low = {0: 0}
    open_members = [0]
    is_open = {0}
    stack = [(0, iter(successors[0]))]
    while stack:
        here, rest = stack[-1]
        for there in rest:
            if there not in order:
                order[there] = low[there] = len(order)
                open_members.append(there)
                is_open.add(there)
                stack.append((there, iter(successors[there])))
                break
            if there in is_open:
                low[here] = min(low[here], order[there])
        else:
            stack.pop()
            if stack:
                low[stack[-1][0]] = min(low[stack[-1][0]], low[here])
            if low[here] == order[here]:
                component = [open_members.pop()]
                while component[-1] != here:
                    component.append(open_members.pop())
                is_open.difference_update(component)
                yield component


def _cycle_tokens(members: list[int], tokens: _Tokens) -> dict[int, tuple[bytes, int]]:
    """Return the tokens of the members of one cycle."""
    colours = _refine(members, tokens)
    encodings = {member: tokens.encode(member, colours) for member in members}
    seen = sorted({colours[member] + _hash(encodings[member]) for member in members})
    description = _hash(count(len(members)) + b"".join(seen))
    size = sum(map(len, encodings.values())) + sum(map(tokens.extra, members))
    token_size = 1 + 2 * len(description)
    extra = min(size, MAX_SIZE) - token_size
    return {member: (b"C" + description + colours[member], extra) for member in members}


def _refine(members: list[int], tokens: _Tokens) -> dict[int, bytes]:
    """Return the stable colours of the members of one cycle.

    A round looks only at members that saw a colour change. Members of one colour that none of this touched see alike, and
    not like any that were touched, because changed colours are new; so they may keep their colour. If all were touched,
    those with the smallest sight keep it. Without that rule a chain of n equal members would cost n rounds of n.
    """
    seen_by: dict[int, list[int]] = defaultdict(list)
    colours = dict.fromkeys(members, bytes(32))
    for member in members:
        for other in tokens.graph[member].successors():
            if other in colours:
                seen_by[other].append(member)
    population = Counter(colours.values())
    touched = set(members)
    while touched:
        sights: dict[bytes, dict[bytes, list[int]]] = defaultdict(lambda: defaultdict(list))
        for member in touched:
            sights[colours[member]][_hash(tokens.encode(member, colours))].append(member)
        changed: list[int] = []
        for colour, groups in sights.items():
            all_touched = population[colour] == sum(map(len, groups.values()))
            kept = min(groups) if all_touched else None
            for sight, group in groups.items():
                if sight == kept:
                    continue
                new = _hash(colour + sight)
                colours.update(dict.fromkeys(group, new))
                population[new] += len(group)
                population[colour] -= len(group)
                changed += group
        touched = {member for other in changed for member in seen_by[other]}
    return colours


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
