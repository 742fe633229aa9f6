"""The graph of what a function reaches, and its digests.

A `Description` says what one thing is in itself (`facts`) and what it needs (`links`). A `Part` is a described thing
whose links have become edges to other parts. `settle` gives each part the digest of everything it reaches.

Theory of operation: parts form a graph with cycles (recursion, a method that names its own class). The strongly
connected groups are visited in order of dependence (Tarjan, without recursion). A part that is in no cycle hashes its
own digest with the labels and digests of its edges. In a group, each part starts with the colour of its own digest and
is coloured again from its neighbours' colours until no more parts can be told apart; the group's digest is that of its
set of colours, a member's is its own colour within the group. Two members with the same final colour behave alike: they
have the same own digests along the same labels for ever.

Invariant: a digest depends neither on where the walk started nor on the order of anything but labels.
"""

import operator
from collections.abc import Callable, Iterator

import attrs

from flowlib.hashing.digest import digest_bytes
from flowlib.hashing.distribution import Owner
from flowlib.hashing.resolve import Link
from flowlib.ids import Digest

ColorOf = Callable[["Part"], Digest]


@attrs.define(kw_only=True, eq=False)
class Description:
    """What one thing is. `facts` describe it without its links; `weak` says that they may not be the whole truth.

    Nobody changes one; it is not frozen because thousands are made for each run.
    """

    name: str
    facts: tuple[str, ...]
    links: tuple[Link, ...] = ()
    text: str = ""
    weak: bool = False
    task: str = ""


UNKNOWN = Description(name="", facts=())


@attrs.define(kw_only=True, eq=False)
class Part:
    """One reached function, class, value, module or task.

    Attributes:
        link: What led here first: the thing, its name and its origin. Held so that their identities stay taken.
        description: What the thing is.
        own: Digest of what it is in itself.
        edges: (label, part), sorted by label.
        redigest: For a value that contains functions: its digest, given those of the functions.
        owners: Distributions that the part itself uses.
        final: Digest of the part with all it reaches, once settled.
    """

    link: Link
    description: Description = UNKNOWN
    own: Digest = Digest("")
    edges: list[tuple[str, "Part"]] = attrs.field(factory=list)
    redigest: Callable[[ColorOf], Digest] | None = None
    owners: frozenset[Owner] = frozenset()
    final: Digest | None = None

    @property
    def settled(self) -> Digest:
        """The final digest, which must be known by now."""
        assert self.final is not None
        return self.final

    @property
    def shown(self) -> Digest:
        """The digest that tells people whether this part itself changed."""
        return self.own if self.redigest is None else self.settled

    def hash_with(self, color_of: ColorOf) -> Digest:
        """Return the digest of the part, given the digests of its neighbours."""
        if self.redigest is not None:
            return join(self.own, self.redigest(color_of))
        return join(self.own, *[text for label, part in self.edges for text in (label, color_of(part))])


def join(*texts: str) -> Digest:
    """Return the digest of a sequence of texts; no two sequences are written alike."""
    written = "".join([f"{len(text)}:{text}" for text in texts])
    return digest_bytes(written.encode() if written.isascii() else written.encode("utf-8", "surrogatepass"))


def reachable(root: Part) -> Iterator[Part]:
    """Yield `root` and every part it reaches, breadth first, by label. O(parts + edges)."""
    seen = {id(root)}
    queue = [root]
    for part in queue:
        yield part
        for _, target in part.edges:
            if id(target) not in seen:
                seen.add(id(target))
                queue.append(target)


_SETTLED = operator.attrgetter("settled")


def settle(root: Part) -> None:
    """Give `root` and all it reaches their final digests. O(parts + edges), times a few rounds inside cycles."""
    for group in _groups(root):
        if len(group) == 1 and all(target is not group[0] for _, target in group[0].edges):
            group[0].final = group[0].hash_with(_SETTLED)
        else:
            _settle_group(group)
        for part in group:
            if part.redigest is not None:  # what is inside a set comes in no order of its own
                part.edges.sort(key=lambda edge: edge[1].final or "")


def _settle_group(group: list[Part]) -> None:
    colors = {id(part): part.own for part in group}
    n_colors = 0
    while len(set(colors.values())) > n_colors:
        n_colors = len(set(colors.values()))
        previous = colors

        def color_of(part: Part, known: dict[int, Digest] = previous) -> Digest:
            return known.get(id(part)) or part.settled

        colors = {id(part): part.hash_with(color_of) for part in group}
    together = join("group", *sorted(set(colors.values())))
    for part in group:
        part.final = join(together, colors[id(part)])


def _groups(root: Part) -> Iterator[list[Part]]:
    """Yield strongly connected groups of unsettled parts, dependencies first (Tarjan 1972, with an explicit stack)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    open_parts: list[Part] = []
    is_open: set[int] = set()
    work: list[tuple[Part, Iterator[tuple[str, Part]]]] = []

    def enter(part: Part) -> None:
        index[id(part)] = low[id(part)] = len(index)
        open_parts.append(part)
        is_open.add(id(part))
        work.append((part, iter(part.edges)))

    if root.final is None:
        enter(root)
    while work:
        part, edges = work[-1]
        place = id(part)
        for _, target in edges:
            if target.final is not None:
                continue
            if id(target) not in index:
                enter(target)
                break
            if id(target) in is_open:
                low[place] = min(low[place], index[id(target)])
        else:
            work.pop()
            if work:
                above = id(work[-1][0])
                low[above] = min(low[above], low[place])
            if low[place] == index[place]:
                start = next(i for i in range(len(open_parts) - 1, -1, -1) if open_parts[i] is part)
                group = open_parts[start:]
                del open_parts[start:]
                is_open.difference_update(map(id, group))
                yield group
