"""Random points: stable prefixes, independent parameters, distributions within their bounds."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowlib.errors import SpaceError
from flowlib.sweep.distributions import choice, logspace, loguniform, randint, uniform
from flowlib.sweep.space import Space, grid, sample


def params(space: Space) -> list[dict[str, Any]]:
    """Return the points' parameters as dicts."""
    return [dict(point.params) for point in space]


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**40))
def test_a_larger_sample_begins_with_the_smaller_one(n: int, more: int, seed: int):
    """Asking for more points keeps all that were drawn."""
    small = sample(n, seed=seed, lr=loguniform(1e-5, 1e-1), depth=randint(2, 12))
    large = sample(n + more, seed=seed, lr=loguniform(1e-5, 1e-1), depth=randint(2, 12))

    assert params(large)[:n] == params(small)
    assert len(large) == n + more
    assert large[n].params == params(large)[n]


def test_a_new_parameter_does_not_change_the_others():
    """Draws belong to (seed, name, index), not to the set of parameters."""
    alone = sample(20, seed=3, lr=uniform(0, 1))
    both = sample(20, seed=3, depth=randint(1, 9), lr=uniform(0, 1))

    assert [p["lr"] for p in params(alone)] == [p["lr"] for p in params(both)]


def test_seeds_and_names_give_different_draws():
    """Two parameters of one distribution are not copies of each other."""
    space = params(sample(20, seed=1, a=uniform(0, 1), b=uniform(0, 1)))

    assert [p["a"] for p in space] != [p["b"] for p in space]
    assert params(sample(20, seed=2, a=uniform(0, 1))) != params(sample(20, seed=1, a=uniform(0, 1)))


def test_draws_are_the_same_for_ever():
    """A change of the generator would rerun every random sweep: it must be seen here."""
    points = params(sample(3, seed=7, lr=loguniform(1e-5, 1e-1), depth=randint(2, 12), model=["svm", "tree"]))

    assert [list(point.values()) for point in points] == [
        [0.020817225121, 4, "tree"],
        [1.96743327812e-05, 5, "svm"],
        [0.000371364676688, 6, "tree"],
    ]


@given(st.floats(0, 1, exclude_max=True))
def test_draws_stay_within_their_bounds(u: float):
    """For every u in [0, 1)."""
    assert -3.0 <= uniform(-3.0, 5.0).draw(u) <= 5.0
    assert 1e-5 <= loguniform(1e-5, 0.1).draw(u) <= 0.1
    assert 2 <= randint(2, 12).draw(u) <= 12
    assert 0 <= randint(0, 2**80).draw(u) <= 2**80
    assert choice("abc").draw(u) in ("a", "b", "c")
    assert choice("abc", weights=[0, 2, 0]).draw(u) == "b"


def test_integers_are_drawn_evenly_with_both_ends():
    """Randint includes its upper end."""
    counts = Counter(p["x"] for p in params(sample(3000, x=randint(1, 3))))

    assert set(counts) == {1, 2, 3}
    assert min(counts.values()) > 850


def test_weights_decide_how_often_a_value_is_drawn():
    """A choice with weights 9 to 1."""
    counts = Counter(p["x"] for p in params(sample(2000, x=choice(["a", "b"], weights=[9, 1]))))

    assert 100 < counts["b"] < 300


def test_a_list_in_a_sample_is_a_choice():
    """Drawn with replacement: the number of points is what was asked for."""
    assert {p["m"] for p in params(sample(50, m=["svm", "tree"]))} == {"svm", "tree"}
    assert len(sample(50, m=["svm"])) == 50


def test_distributions_of_scipy_are_accepted():
    """Anything with rvs(random_state=...) draws by the same counter."""
    stats = pytest.importorskip("scipy.stats")
    small = params(sample(3, seed=1, x=stats.norm(), k=stats.randint(1, 5)))
    large = params(sample(5, seed=1, x=stats.norm(), k=stats.randint(1, 5)))

    assert large[:3] == small
    assert type(small[0]["x"]) is float
    assert type(small[0]["k"]) is int


def test_own_distributions_need_only_draw():
    """A frozen value with draw(u) is a distribution."""

    class Half:
        def draw(self, u: float) -> float:
            return u / 2

    assert all(0 <= p["x"] < 0.5 for p in params(sample(20, x=Half())))


def test_random_points_multiply_with_grids():
    """A sample is a space as any other."""
    space = sample(4, x=uniform(0, 1)) * grid(fold=[0, 1, 2])

    assert len(space) == 12
    assert space[5] == list(space)[5]


def test_logspace_meets_literals():
    """Ends are exact, inner values are the decimals people write."""
    assert logspace(1e-2, 1e2, 5) == [0.01, 0.1, 1.0, 10.0, 100.0]
    assert logspace(1e-5, 1e-1, 5) == [1e-05, 0.0001, 0.001, 0.01, 0.1]
    assert logspace(8, 1, 4) == [8.0, 4.0, 2.0, 1.0]
    assert logspace(3, 5, 1) == [3.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: uniform(1, 0),
        lambda: uniform(0, float("inf")),
        lambda: loguniform(0, 1),
        lambda: randint(0.5, 2),  # type: ignore[arg-type]
        lambda: choice(["a"], weights=[1, 2]),
        lambda: choice(["a"], weights=[-1]),
    ],
)
def test_impossible_distributions_are_refused(make: Any):
    """Bounds and weights are checked when the distribution is made."""
    with pytest.raises(SpaceError):
        make()
