"""Sweeps whose axes are nodes: how many points there are is known only while the run goes on.

A late fan-out is one node. Its arguments are a recipe (the task, the space with holes, the reductions to apply), the
values of the open axes, and the other inputs *quoted*: their digests enter the key, their values are not loaded. Its
result is the static fan-out or reduction, spliced into the run; the whole is stored under the node's key, so that a
warm run needs neither the axes nor the points.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import attrs

from flowlib.errors import NodeMisused
from flowlib.graph.args import Composite, Quoted, nodes_in, replace
from flowlib.graph.node import Node
from flowlib.graph.policy import Policy
from flowlib.graph.site import Site
from flowlib.graph.task import Task
from flowlib.sweep.group import Along, FanOut, FanOutOptions, build_fan_in, build_fan_out
from flowlib.sweep.space import Space

R = TypeVar("R")

EXPANSION_VERSION = "fan-out-1"


@attrs.frozen(kw_only=True, eq=False)
class _Step:
    """One reduction to apply."""

    reducer: Any
    along: Along
    min_ok: int | float | None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class _Recipe:
    """How to build a sweep once its open axes have values."""

    task: Task[..., Any]
    fixed: tuple[Any, ...]
    space: Space
    options: FanOutOptions
    site: Site
    steps: tuple[_Step, ...] = ()

    def __repr__(self) -> str:
        return f"{self.task.name} over {', '.join(self.space.names)}"

    def __flowlib_digest__(self) -> Any:
        """Return what decides the result beside the axes' values and the quoted nodes."""
        holes = {name: [("open axis", name)] for name in self.space.open_axes}
        fixed = replace(self.fixed, lambda node: ("quoted", node._fl_task.name))
        steps = [(step.reducer, step.along, step.min_ok) for step in self.steps]
        options = (self.options.name, self.options.on_error, self.options.min_ok)
        return (self.task, self.task.policy.version, fixed, self.space.resolve(holes), options, steps)

    def build(self, axes: Mapping[str, Any]) -> Any:
        """Return the static fan-out, or what the reductions made of it."""
        space = self.space.resolve(axes)
        built: Any = build_fan_out(self.task, self.fixed, space, self.options, self.site)
        for step in self.steps:
            built = build_fan_in(built, step.reducer, step.along, step.min_ok, self.site)
        return _Whole(built) if isinstance(built, FanOut) else built

    def node(self) -> Node:
        """Return the node that stands for the sweep."""
        quoted = tuple(Quoted(node) for node in nodes_in(self.fixed, lambda i: f"fixed argument {i}"))
        name = f"fan_out({self.task.name})"
        for step in self.steps:
            name = f"{getattr(step.reducer, 'name', 'fan_in')}({name})"
        task = _ExpandTask(_expand, Policy(name=name))
        axes = dict(self.space.open_axes)
        return task.node((self, axes, quoted), {}, task.policy, self.site.code, self.site.offset)


class _ExpandTask(Task[..., Any]):
    quotes = True
    own_code = EXPANSION_VERSION


def _expand(recipe: _Recipe, axes: dict[str, Any], quoted: tuple[Node, ...]) -> Any:
    return recipe.build(axes)


class _Whole(Composite):
    """A fan-out whose result is the sweep result also where a task would get the list of values."""

    def __init__(self, fan: FanOut[Any]) -> None:
        self._fan = fan

    def member_nodes(self) -> Iterable[Node]:
        return self._fan.member_nodes()

    def assemble(self, values: list[Any]) -> Any:
        return self._fan.assemble(values)


class LateFanOut(FanOut[R]):
    """A fan-out whose points are not known yet. It can be run and reduced, but not counted, sliced or iterated."""

    def __init__(self, recipe: _Recipe) -> None:
        super().__init__((recipe.node(),), (), (), task=recipe.task.name, min_ok=recipe.options.min_ok)
        self.recipe = recipe

    def assemble(self, values: list[Any]) -> Any:
        """Return the sweep result that the run made."""
        return values[0]

    def argument(self, values: list[Any]) -> Any:
        """Return the good values: what a task receives."""
        return list(values[0].good)

    def __len__(self) -> int:
        raise self._not_known("counted")

    def __iter__(self) -> Iterator[R]:
        raise self._not_known("iterated over")

    def __getitem__(self, which: Any) -> Any:
        raise self._not_known("sliced or indexed")

    def sel(self, **params: object) -> FanOut[R]:
        """Not possible before the points are known."""
        raise self._not_known("searched")

    def __repr__(self) -> str:
        return f"<fan-out of {self.task} over axes known only at run time: {', '.join(self.recipe.space.open_axes)}>"

    def _not_known(self, use: str) -> NodeMisused:
        return NodeMisused(
            f"This fan-out of {self.task!r} cannot be {use} yet: its points are known only at run time.",
            {"open axes": ", ".join(self.recipe.space.open_axes), "made at": self.recipe.site},
            "Reduce it with flowlib.fan_in, or run it and use the result.",
        )


def late_fan_out(
    task: Task[..., R], fixed: tuple[Any, ...], space: Space, options: FanOutOptions, site: Site
) -> LateFanOut[R]:
    """Return a fan-out over a space with open axes."""
    return LateFanOut(_Recipe(task=task, fixed=fixed, space=space, options=options, site=site))


def late_fan_in(jobs: LateFanOut[Any], reducer: Any, along: Along, min_ok: int | float | None, site: Site) -> Any:
    """Return the reduction of a late fan-out: a node, or a late fan-out again when axes stay."""
    step = _Step(reducer=reducer, along=along, min_ok=min_ok)
    recipe = attrs.evolve(jobs.recipe, steps=(*jobs.recipe.steps, step), site=site)
    return recipe.node() if along is None else LateFanOut(recipe)
