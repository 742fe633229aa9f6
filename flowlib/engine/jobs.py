"""Make the jobs of one run: a node's call, its reason and its inputs as one work order."""

import inspect
from collections.abc import Sequence
from typing import Any

import attrs

from flowlib.engine.attempts import Attempts
from flowlib.engine.context import RunContext
from flowlib.engine.expansion import Expansions
from flowlib.engine.feed import Feeds
from flowlib.engine.values import Values
from flowlib.errors import FlowError
from flowlib.execution.base import Call, Job, Stopwatch
from flowlib.graph.args import ATOMS, Quoted, nodes_in
from flowlib.graph.graph import Graph
from flowlib.graph.node import Node
from flowlib.graph.policy import Policy
from flowlib.graph.task import Task
from flowlib.ids import NodeId
from flowlib.planning.decide import Miss, Planner
from flowlib.scheduling.budgets import Needs
from flowlib.scheduling.messages import Traits

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@attrs.frozen(kw_only=True)
class _Kind:
    """What the calls of one task with one policy have in common."""

    traits: Traits
    is_plain: bool
    """Whether a call needs nothing but its arguments: no check, no equality policy, no reduction, no second attempt."""
    is_plain_at_first: bool
    """The same for the first attempt."""
    splits: bool
    """Whether some parameters are given by keyword, or take any number of arguments."""


class Jobs:
    """Makes jobs of nodes that have every input."""

    def __init__(
        self,
        context: RunContext,
        graph: Graph,
        planner: Planner,
        values: Values,
        feeds: Feeds,
        expansions: Expansions,
        attempts: Attempts,
    ) -> None:
        self._context, self._graph, self._planner = context, graph, planner
        self._values, self._feeds, self._expansions, self._attempts = values, feeds, expansions, attempts
        self._kinds: dict[tuple[int, int], _Kind] = {}
        self.refusals: dict[tuple[int, int], FlowError] = {}
        """Why calls of some tasks can never start."""
        self._last: tuple[Any, Any, Any] = (None, None, None)

    def traits(self, numbers: Sequence[NodeId]) -> list[Traits]:
        """Return what the scheduler needs to know about nodes: the same for all calls of a task."""
        found: list[Traits] = []
        task = policy = traits = None
        nodes = self._graph.nodes
        for number in numbers:
            node = nodes[number]
            if traits is None or node._fl_task is not task or node._fl_policy is not policy:
                task, policy = node._fl_task, node._fl_policy
                traits = self._kind_of(task, policy).traits
            found.append(traits)
        return found

    def refusal(self, number: NodeId) -> FlowError | None:
        """Return why a node can never start: it asks for what there is not."""
        node = self._graph.nodes[number]
        return self.refusals.get((id(node._fl_task), id(node._fl_policy)))

    def uncached_calls(self, numbers: Sequence[NodeId], *, follow: bool = False) -> tuple[list[Call], list[NodeId]]:
        """Return what `call` would for nodes of a run without a store, and those that take a job. About 0.6 us a node.

        Args:
            numbers: The nodes.
            follow: Whether their arguments are brought together in the batch: calls before them make some.
        """
        calls: list[Call] = []
        rest: list[NodeId] = []
        nodes, plain_arguments = self._graph.nodes, self._values.plain_arguments
        task = policy = kind = None
        for number in numbers:
            node = nodes[number]
            if kind is None or node._fl_task is not task or node._fl_policy is not policy:
                task, policy = node._fl_task, node._fl_policy
                kind = self._kind_of(task, policy)
            if not kind.is_plain and (not kind.is_plain_at_first or self._attempts.number(number) > 1):
                rest.append(number)
                continue
            args: tuple[Any, ...] | None = node._fl_args
            if not follow and not ATOMS.issuperset(map(type, node._fl_args)):
                args = plain_arguments(node._fl_args)
            if args is None:
                rest.append(number)
                continue
            call = Call(number, task, policy, args)
            if follow:
                call.follows, call.splits = True, kind.splits
            elif kind.splits:
                call.split()
            calls.append(call)
        return calls, rest

    def call(self, number: NodeId, miss: Miss) -> Call | None:
        """Return a node's call if all its inputs are plain values in memory; None if it takes a job. About 1.5 us."""
        node = self._graph.nodes[number]
        task, policy = node._fl_task, node._fl_policy
        kind = self._kind_of(task, policy)
        if not kind.is_plain and (not kind.is_plain_at_first or self._attempts.number(number) > 1):
            return None
        if miss.call.uncacheable and policy.cache and self._context.store is not None:
            return None  # a job says why the call cannot be cached
        args = self._values.plain_arguments(node._fl_args)
        if args is None:
            return None
        call = Call(number, task, policy, args, miss.call.key, self._context.store is not None)
        if kind.splits:
            call.split()
        return call

    def _kind_of(self, task: Task[..., Any], policy: Policy) -> "_Kind":
        kind: _Kind | None
        last_task, last_policy, kind = self._last
        if task is last_task and policy is last_policy and kind is not None:
            return kind  # sweeps make thousands of calls of one task
        kind = self._kinds.get((id(task), id(policy)))  # the graph keeps both alive
        if kind is None:
            kind = self._kinds[id(task), id(policy)] = self._make_kind(task, policy)
        self._last = (task, policy, kind)
        return kind

    def _make_kind(self, task: Task[..., Any], policy: Policy) -> "_Kind":
        is_checked = policy.check_in is not None or policy.check_out is not None or policy.same is not None
        needs, rates = self._shares(task, policy)
        is_limited = policy.timeout is not None or (id(task), id(policy)) in self.refusals
        is_special = task.streams or task.quotes or policy.executor is not None or self._context.settings.strict
        parameters = task.signature.signature.parameters.values()
        is_plain = not (is_checked or is_special or is_limited or policy.always or inspect.iscoroutinefunction(task.fn))
        return _Kind(
            traits=Traits(
                task=task.name,
                needs=needs,
                rates=rates,
                always=policy.always,
                priority=policy.priority,
                weight_s=self._values.expected_s(task.name),
                is_timed=policy.timeout is not None and policy.timeout.limits_waiting,
            ),
            is_plain=is_plain and policy.retries is None,
            is_plain_at_first=is_plain,
            splits=not all(parameter.kind in _BY_POSITION for parameter in parameters),
        )

    def _shares(self, task: Task[..., Any], policy: Policy) -> tuple[Needs, tuple[str, ...]]:
        if policy.pool is None and policy.resources is None:
            return (), ()
        try:
            return self._context.shares.needs_of(policy, task.name)
        except FlowError as error:
            self.refusals[id(task), id(policy)] = error
            return (), ()

    def lacking(self, number: NodeId) -> NodeId | None:
        """Return a dependency that has to be made again before a node can start; None if it can."""
        return self._values.lacking(number, self._not_loaded(number))

    def of(self, number: NodeId, miss: Miss) -> Job:
        """Return the job of a node's call."""
        node = self._graph.nodes[number]
        has_key = miss.call.key is not None
        return Job(
            node=number,
            task=node._fl_task,
            policy=node._fl_policy,
            args=node._fl_args,
            inputs=self._values.inputs(number, skip=self._not_loaded(number)),
            key=miss.call.key,
            parts=miss.call.parts,
            keep=has_key,
            wants_digest=self._context.store is not None,
            previous=self._planner.previous(number, miss.call)
            if has_key and node._fl_policy.same is not None
            else None,
            stream=self._feeds.result_maker(number),
            attempt=self._attempts.number(number),
            stopwatch=None if node._fl_policy.timeout is None else Stopwatch(),
        )

    def dropped_child(self, number: NodeId) -> NodeId | None:
        """Return a returned node that had a value which was let go before it was returned; it has to be made again."""
        children = self._expansions.children[number]
        return next((n for n in children if self._values.is_dropped(n)), None)

    def assembling(self, number: NodeId, miss: Miss) -> Job:
        """Return the job that puts the values of returned nodes together, stored under the key of the outer call."""
        children = self._expansions.children[number]
        node = self._graph.nodes[number]
        without_value = next((child for child in children if not self._values.has(child)), None)
        if without_value is not None:
            return Job.failing(number, node._fl_task, node._fl_policy, ChildEnded(without_value))
        has_key = miss.call.key is not None and self._expansions.is_covered(
            number, self._planner.keys, lambda n: self._values.key_of(n) is not None
        )
        return Job.assembling(
            number,
            node._fl_task,
            node._fl_policy,
            self._expansions.returned[number],
            self._values.inputs_from(children),
            keep=has_key,
            wants_digest=self._context.store is not None,
        )

    def _not_loaded(self, number: NodeId) -> frozenset[NodeId]:
        """Return the dependencies whose values a job does not load: what it was fed, what it wants as nodes."""
        node = self._graph.nodes[number]
        fed = self._feeds.fed_nodes(number)
        return fed | self._quoted_only(node) if node._fl_task.quotes else fed

    def _quoted_only(self, node: Node) -> frozenset[NodeId]:
        is_quoted = [type(arg) is tuple and bool(arg) and all(type(q) is Quoted for q in arg) for arg in node._fl_args]
        loaded = nodes_in([a for a, q in zip(node._fl_args, is_quoted, strict=True) if not q], lambda i: "an argument")
        ids = self._graph.id_of
        return frozenset(map(ids, node._fl_deps)) - frozenset(map(ids, loaded))


class ChildEnded(Exception):
    """A node returned by a task ended without a value."""

    def __init__(self, child: NodeId) -> None:
        super().__init__()
        self.child = child
