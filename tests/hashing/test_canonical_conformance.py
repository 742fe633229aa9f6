"""The pairs that value hashers get wrong, each pinned: 37 that must differ, 14 that must agree, 16 that must last.

Run as a script it prints the digests of all of them as JSON: that is how the tests look at them from processes with other
hash seeds and other directories.
"""

import dataclasses
import datetime as dt
import enum
import functools
import hashlib
import json
import operator
import os
import subprocess
import sys
import types
import zoneinfo
from collections import Counter, OrderedDict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flowlib.hashing.canonical import digest_value
from flowlib.ids import Digest

ROOT = Path(__file__).parents[2]
SEEDS = ("0", "1", "2", "random")


def code_digest(obj: Any) -> Digest:
    """Stand in for code versions: code, constants, defaults and closure of a function, the methods of a class."""
    return Digest(f"sha256-{hashlib.sha256(describe_code(obj).encode()).hexdigest()}-0")


def describe_code(obj: Any) -> str:
    """Write what a function does, without addresses and line numbers."""
    if isinstance(obj, types.CodeType):
        constants = [describe_code(c) if isinstance(c, types.CodeType) else digest_value(c) for c in obj.co_consts]
        return f"{obj.co_code.hex()} {constants} {obj.co_names} {obj.co_varnames}"
    if isinstance(obj, types.FunctionType):
        cells = [digest_value(cell.cell_contents, function_digest=code_digest) for cell in obj.__closure__ or ()]
        return f"{describe_code(obj.__code__)} {cells} {digest_value(obj.__defaults__, function_digest=code_digest)}"
    methods = {k: describe_code(v) for k, v in vars(obj).items() if isinstance(v, types.FunctionType)}
    return f"{obj.__qualname__} {sorted(methods.items())}"


def digest(value: Any) -> Digest:
    """Digest a value with the stand-in for code versions."""
    return digest_value(value, function_digest=code_digest)


class Red(enum.Enum):
    ONE = 1


class Blue(enum.Enum):
    ONE = 1


@dataclasses.dataclass
class Point:
    x: int = 1


@dataclasses.dataclass
class Place:
    x: int = 1


class Thing:
    def __init__(self, **state: Any) -> None:
        vars(self).update(state)


def deep(value: Any, levels: int = 9) -> Any:
    """Put a value inside objects inside objects."""
    for _ in range(levels):
        value = Thing(inner=value)
    return value


def adder(n: int) -> Callable[[int], int]:
    """Return a function whose closure holds n."""
    return lambda x: x + n


def frame(**columns: Any) -> pd.DataFrame:
    """Return a frame of named columns."""
    return pd.DataFrame(columns)


def with_middle(n: int, value: float) -> np.ndarray:
    """Return zeros with one other number in the middle."""
    array = np.zeros(n)
    array[n // 2] = value
    return array


# name -> two values that a careless hasher takes for one.
MUST_DIFFER: dict[str, Callable[[], tuple[Any, Any]]] = {
    "int and text": lambda: (1, "1"),
    "int and True": lambda: (1, True),
    "int and float": lambda: (1, 1.0),
    "None and its text": lambda: (None, "None"),
    "text and bytes": lambda: ("a", b"a"),
    "list and tuple": lambda: ([1, 2], (1, 2)),
    "set and frozenset": lambda: ({1, 2}, frozenset({1, 2})),
    "dict key 1 and '1'": lambda: ({1: "x"}, {"1": "x"}),
    "dict key 1 and True": lambda: ({1: "x"}, {True: "x"}),
    "where texts are split": lambda: (["ab", "c"], ["a", "bc"]),
    "Decimal and float": lambda: (Decimal("0.5"), 0.5),
    "Path and text": lambda: (PurePosixPath("a"), "a"),
    "dataclass type": lambda: (Point(), Place()),
    "enum type": lambda: (Red.ONE, Blue.ONE),
    "object deeper than 6": lambda: (deep(1), deep(2)),
    "datetime zone": lambda: (
        dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC),
        dt.datetime(2024, 1, 1, 13, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")),
    ),
    "OrderedDict order": lambda: (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
    "lambda body": lambda: (lambda x: x + 1, lambda x: x + 2),
    "closure value": lambda: (adder(1), adder(2)),
    "default argument": lambda: (lambda x, n=1: x + n, lambda x, n=2: x + n),
    "partial argument": lambda: (functools.partial(max, 1), functools.partial(max, 2)),
    "array shape": lambda: (np.zeros((2, 3)), np.zeros((3, 2))),
    "array dtype": lambda: (np.zeros(3, "int32"), np.zeros(3, "float32")),
    "array and list": lambda: (np.array([1, 2]), [1, 2]),
    "views at other offsets": lambda: (np.arange(10)[:5], np.arange(10)[5:]),
    "elided middle of an array": lambda: (with_middle(5000, 0.0), with_middle(5000, 7.0)),
    "types in an object array": lambda: (np.array([1], object), np.array(["1"], object)),
    "mask of a masked array": lambda: (np.ma.masked_array([1, 2], [0, 1]), np.ma.masked_array([1, 2], [1, 0])),
    "column name": lambda: (frame(a=[1]), frame(b=[1])),
    "column order": lambda: (frame(a=[1], b=[1]), frame(b=[1], a=[1])),
    "column dtype": lambda: (frame(a=np.array([1], "int32")), frame(a=np.array([1], "int64"))),
    "column dtype among others": lambda: (
        frame(a=np.array([1], "int32"), b=["x"]),
        frame(a=np.array([1], "int64"), b=["x"]),
    ),
    "index name": lambda: (frame(a=[1]), frame(a=[1]).rename_axis("i")),
    "series name": lambda: (pd.Series([1], name="a"), pd.Series([1], name="b")),
    "text in a cell": lambda: (frame(a=["x", "y"]), frame(a=["x", "z"])),
    "middle cell of a long frame": lambda: (frame(a=with_middle(5000, 0.0)), frame(a=with_middle(5000, 7.0))),
    "category labels": lambda: (pd.Series(["a"], dtype="category"), pd.Series(["b"], dtype="category")),
}


def built(text: str) -> str:
    """Return an equal text that is another object."""
    return "".join(list(text))


def twice(item: Any) -> list[Any]:
    """Return a list that holds one object twice."""
    return [item, item]


def in_blocks() -> pd.DataFrame:
    """A frame of two columns that pandas keeps apart."""
    made = frame(a=[1.0, 2.0])
    made["b"] = [3.0, 4.0]
    return made


# name -> two values that nothing a task does tells apart.
MUST_AGREE: dict[str, Callable[[], tuple[Any, Any]]] = {
    "dict order": lambda: ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "dict order inside": lambda: ([{"x": {1: 2, "3": 4}}], [{"x": {"3": 4, 1: 2}}]),
    "set order": lambda: (set("abcdefgh"), set("hgfedcba")),
    "frozenset order": lambda: (frozenset("abcdefgh"), frozenset("hgfedcba")),
    "shared and equal lists": lambda: (twice([1, 2]), [[1, 2], [1, 2]]),
    "shared and equal texts": lambda: (twice("some text"), [built("some text"), built("some text")]),
    "attribute order": lambda: (Thing(a=1, b=2), Thing(b=2, a=1)),
    "equal dataclasses": lambda: (Point(5), Point(5)),
    "one NaN": lambda: (float("nan"), -float("nan")),
    "numpy and Python scalars": lambda: ([np.float64(0.1), np.int64(3), np.True_], [0.1, 3, True]),
    "lambda on another line": lambda: (
        lambda x: x + 1,
        lambda x: x + 1,
    ),
    "array memory order": lambda: (np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))),
    "strided view and copy": lambda: (np.arange(10)[::2], np.arange(10)[::2].copy()),
    "blocks of a frame": lambda: (frame(a=[1.0, 2.0], b=[3.0, 4.0]), in_blocks()),
}

# name -> a value whose digest must be the same in every process and directory.
MUST_LAST: dict[str, Callable[[], Any]] = {
    "text": lambda: "text",
    "frozenset of texts": lambda: frozenset("abcdefgh"),
    "set of mixed types": lambda: {"a", 1, None, (2, "b"), b"c", 0.5},
    "dict of mixed keys": lambda: {"a": 1, 2: "b", None: 3, ("c",): 4},
    "Counter": lambda: Counter("abracadabra"),
    "enum": lambda: Red.ONE,
    "object": lambda: Thing(tags={"x", "y"}, inner=Thing(a=1)),
    "instance of __main__": lambda: Point(3),
    "class": lambda: Thing,
    "function": lambda: adder(3),
    "partial": lambda: functools.partial(operator.add, 1),
    "datetime": lambda: dt.datetime(2024, 5, 6, 7, 8, tzinfo=zoneinfo.ZoneInfo("Asia/Tokyo")),
    "Decimal and Path": lambda: (Decimal("1.50"), PurePosixPath("a/b")),
    "object array of texts": lambda: np.array(["a", "bc", None], object),
    "array": lambda: np.linspace(0, 1, 20_000),
    "frame": lambda: frame(a=["x", None], b=pd.Categorical(["u", "v"]), c=pd.to_datetime(["2024", "2025"])),
}


def all_digests() -> dict[str, Digest]:
    """Return the digest of every value in the three tables."""
    found = {name: digest(make()) for name, make in MUST_LAST.items()}
    for table in (MUST_DIFFER, MUST_AGREE):
        for name, make in table.items():
            found[f"{name}, first"], found[f"{name}, second"] = map(digest, make())
    return found


@pytest.fixture(scope="module")
def by_seed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The digests as seen by one process for each hash seed, each in a directory of its own."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    processes = {
        seed: subprocess.Popen(
            [sys.executable, __file__],
            cwd=tmp_path_factory.mktemp(f"seed-{seed}"),
            env={**environment, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in SEEDS
    }
    return {seed: json.loads(process.communicate()[0]) for seed, process in processes.items()}


def test_the_tables_are_complete() -> None:
    """Nobody drops a case in passing."""
    assert (len(MUST_DIFFER), len(MUST_AGREE), len(MUST_LAST)) == (37, 14, 16)


@pytest.mark.parametrize("name", MUST_DIFFER)
def test_different_values_have_different_digests(name: str) -> None:
    """A collision would be a wrong hit."""
    first, second = MUST_DIFFER[name]()

    assert digest(first) != digest(second)
    assert digest([first, {"k": first}]) != digest([first, {"k": second}])


@pytest.mark.parametrize("name", MUST_AGREE)
def test_equal_values_have_equal_digests(name: str) -> None:
    """A difference would be a needless miss."""
    first, second = MUST_AGREE[name]()

    assert digest(first) == digest(second)
    assert digest([first, {"k": first}]) == digest([first, {"k": second}])


@pytest.mark.parametrize("seed", SEEDS)
def test_digests_are_the_same_in_every_process(seed: str, by_seed: dict[str, dict[str, str]]) -> None:
    """Hash seed, directory and the module being `__main__` leave no trace."""
    assert by_seed[seed] == all_digests()


def test_all_sixteen_lasting_values_differ_from_each_other() -> None:
    """They are the same everywhere because of what they are, not because nothing was looked at."""
    assert len({digest(make()) for make in MUST_LAST.values()}) == len(MUST_LAST)


if __name__ == "__main__":
    print(json.dumps(all_digests()))
