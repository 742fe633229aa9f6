"""Spaces whose axes are nodes: written first, enumerated when the values are known."""

from typing import Any

import pytest

from flowlib.errors import SpaceError
from flowlib.sweep.fit import check_against
from flowlib.sweep.space import Space, axis, cases, grid, seeds, zipped


class FakeNode:
    """Behaves as badly as a node: any use but identity raises."""

    __flowlib_node__ = True
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        raise AssertionError("a node was compared")

    def __bool__(self) -> bool:
        raise AssertionError("a node was used as a bool")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"attribute {name} of a node was touched")

    def __repr__(self) -> str:
        return "<node split>"


def params(space: Space) -> list[dict[str, Any]]:
    """Return the points' parameters as dicts."""
    return [dict(point.params) for point in space]


def test_the_whole_algebra_works_before_the_values_are_known():
    """Resolving the built expression equals building it from the values."""
    folds = FakeNode()

    def build(fold: object) -> Space:
        space = grid(lr=[1, 2]) * axis(fold=fold) * seeds(2) | grid(lr=[9], fold=[0], seed=[0])
        return space.where(lambda lr, fold: lr + fold != 3).derive(tag=lambda fold: fold * 10)[1:8]

    late = build(folds)

    assert not late.is_static
    assert late.names == ("lr", "fold", "seed", "tag")
    assert params(late.resolve({"fold": [0, 1, 2]})) == params(build([0, 1, 2]))
    assert not late.is_static


def test_an_open_axis_shows_its_node():
    """The engine finds the nodes it must run under the axis names."""
    folds, files = FakeNode(), FakeNode()
    space = axis(fold=folds) * grid(file=files, lr=[1, 2])

    assert list(space.open_axes) == ["fold", "file"]
    assert space.nodes()[0] is folds
    assert space.nodes()[1] is files
    assert space.axes["fold"] is folds
    assert space.axes["lr"] == (1, 2)
    assert repr(space) == "Space(fold, file, lr; waits for fold, file)"


def test_axes_may_be_resolved_one_after_the_other():
    """What is left open stays open; the rest of the tree is shared."""
    space = axis(a=FakeNode()) * axis(b=FakeNode()) * grid(c=[1])
    half = space.resolve({"a": [1, 2]})

    assert list(half.open_axes) == ["b"]
    assert len(half.resolve({"b": [3]})) == 2


def test_an_unresolved_space_cannot_be_counted_or_enumerated():
    """The error says which axis waits, for what, and what to do."""
    space = axis(fold=FakeNode())
    for use in (len, list, lambda s: s[0], lambda s: s.n_dropped):
        with pytest.raises(SpaceError, match="not known yet") as caught:
            use(space)
        assert caught.value.facts["open axes"] == "fold"
        assert "node split" in caught.value.facts["made by"]
        assert "fan_out" in caught.value.hint


def test_run_time_lists_are_taken_as_they_are():
    """They may be empty and may repeat values, since position in the list may matter."""
    space = axis(fold=FakeNode()) * grid(lr=[1, 2])

    assert len(space.resolve({"fold": []})) == 0
    assert list(space.resolve({"fold": []})) == []
    assert len(space.resolve({"fold": [7, 7]})) == 4
    assert len(space.resolve({"fold": []}).where(lambda lr: lr > 5)) == 0


def test_wrong_values_for_open_axes_are_refused():
    """Unknown axes suggest near ones; a value that is not a list says what it is."""
    space = axis(fold=FakeNode())
    with pytest.raises(SpaceError, match="No axis 'folds'") as caught:
        space.resolve({"folds": [1]})
    assert "'fold'" in caught.value.hint
    with pytest.raises(SpaceError, match="'fold' are not a list"):
        space.resolve({"fold": 3})  # type: ignore[dict-item]
    with pytest.raises(SpaceError, match="No axis 'lr'"):
        grid(lr=[1]).resolve({"lr": [2]})


def test_zipped_nodes_are_compared_in_length_when_they_are_known():
    """Lengths are checked at enumeration, whichever list came late."""
    space = zipped(width=[64, 128], data=FakeNode())

    assert params(space.resolve({"data": ["a", "b"]})) == [{"width": 64, "data": "a"}, {"width": 128, "data": "b"}]
    with pytest.raises(SpaceError, match="differ in length"):
        len(space.resolve({"data": ["a"]}))


def test_one_axis_name_cannot_stand_for_two_nodes():
    """Values are given by axis name, so the union is refused when it is written."""
    with pytest.raises(SpaceError, match="two different nodes"):
        axis(fold=FakeNode()) | axis(fold=FakeNode())

    node = FakeNode()
    assert len((axis(fold=node) | axis(fold=node)).resolve({"fold": [1, 2]})) == 2


def test_seeds_per_point_wait_for_open_axes():
    """Derived seeds see the run-time values."""
    space = axis(fold=FakeNode()) * seeds(1, per_point=True)

    assert len({p["seed"] for p in params(space.resolve({"fold": [1, 2, 3]}))}) == 3


SIGNATURE = {"data": True, "lr": True, "depth": False}


def test_a_space_that_fits_its_task_passes():
    """Every point, with the fixed arguments, is a complete call."""
    check_against(grid(lr=[1]), SIGNATURE, {"data"}, "fit", "a.py:1")
    check_against(grid(lr=[1]) | grid(lr=[1], depth=[2]), SIGNATURE, {"data"}, "fit", "a.py:1")
    check_against(grid(lr=[1], anything=[2]), SIGNATURE, {"data"}, "fit", "a.py:1", takes_any_name=True)


@pytest.mark.parametrize(
    ("space", "given", "message", "advice"),
    [
        (grid(lr=[1], dept=[2]), {"data"}, "no parameter 'dept'", "Did you mean 'depth'"),
        (grid(lr=[1], data=[2]), {"data"}, "both fixed and swept", "Take it out"),
        (grid(depth=[1]), {"data"}, "No point of the space sets 'lr'", "fixed argument"),
        (grid(lr=[1]) | grid(depth=[2]), {"data"}, "Point 'depth=2' does not set 'lr'", "default"),
    ],
)
def test_a_space_that_does_not_fit_is_refused_with_the_call(space: Space, given: set[str], message: str, advice: str):
    """The error names parameter, task and line."""
    with pytest.raises(SpaceError, match=message) as caught:
        check_against(space, SIGNATURE, given, "fit", "a.py:1")

    assert caught.value.facts["call"] == "a.py:1"
    assert advice in caught.value.hint


def test_a_filter_may_drop_the_incomplete_points():
    """Only points that exist must be complete."""
    space = (grid(lr=[1]) | grid(depth=[2])).where(lambda lr=None: lr is not None)

    check_against(space, SIGNATURE, {"data"}, "fit", "a.py:1")


def test_open_spaces_are_checked_by_their_names():
    """Unknown names are found at once; incomplete points only when they are known."""
    check_against(axis(lr=FakeNode()) | cases(x={"depth": 1}), SIGNATURE, {"data"}, "fit", "a.py:1")
    with pytest.raises(SpaceError, match="no parameter 'fold'"):
        check_against(axis(fold=FakeNode()), SIGNATURE, {"data"}, "fit", "a.py:1")
