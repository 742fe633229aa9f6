"""Keys: pinned to the bit, made of named parts, all or nothing."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import attrs
import pytest

import flowlib as fl
from flowlib.errors import FileMissing
from flowlib.graph.node import Node
from flowlib.hashing.code import CodeVersion
from flowlib.hashing.identity import Identity
from flowlib.ids import Digest
from flowlib.planning.key import CallKey, KeyMaker, preview, previews
from flowlib.planning.previews import texts
from flowlib.planning.shared import make_task_part
from flowlib.store.details import unpack_details

CODE = Digest("sha256-" + "c0de" * 16 + "-100")
OUTPUT = Digest("sha256-" + "abcd" * 16 + "-7")


class FixedCode(Identity):
    """An identity that knows one version of all code, so that keys do not depend on how Python compiles."""

    def __init__(self, code: Digest = CODE, weak: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._version = CodeVersion(digest=code, parts={}, texts={}, weak=weak)

    def code_version(self, fn: object) -> CodeVersion:
        """Return the one version."""
        return self._version


@fl.task
def fit(data: Any, *, lr: float = 0.1, depth: int = 4) -> float:
    return lr


@fl.task(version="2", env=["MODE"])
def versioned(x: int) -> int:
    return x


@fl.task(ignore=["verbose"])
def quiet(x: int, verbose: bool = False) -> int:
    return x


@fl.task
def load(n: int) -> list[int]:
    return [n]


def key_of(node: Any, output: Digest | None = OUTPUT, environ: Mapping[str, str] | None = None) -> CallKey:
    """Return the key of a call whose dependencies all gave the same output."""
    return KeyMaker(FixedCode(), environ or {}).key_of(node, lambda dependency: output)


GOLDEN: list[tuple[str, Callable[[], Any], str]] = [
    (
        "plain data",
        lambda: fit([1, 2.5, "three", None, True, b"6"]),
        "66295144646dd491ee26cedca587c273f2d44af7cc810fd8c978c481d60cda4f",
    ),
    (
        "keywords",
        lambda: fit({"a": (1, 2), "b": {3, 4}}, lr=0.25, depth=8),
        "9bc1d2881abb7c825b44b498dab90dde94d13668dd7b6531852f8825f0cc6aea",
    ),
    ("a node", lambda: fit(load(3)), "908d5e063d046d92e1fde51187f1db560061fbc93b56b27bcd318d5bb8794f68"),
    (
        "nodes in a container",
        lambda: fit({"train": load(3), "rest": [load(4), 5]}),
        "92251854e4be0fba68e0050dd7997d1d354707b5630edfb414030828db5e79b2",
    ),
    ("an operator", lambda: load(3)[0], "ac10aa3bfbb6bb17f26cf69c8e6dbdbf6af59e06dd2726cc61c76e592d8e6c78"),
    (
        "version and environment",
        lambda: versioned(1),
        "ace4587fbffc376a3b60dc757d9b8bcc73d71bf20bd3d94c263b42fe27f2d656",
    ),
    (
        "an ignored parameter",
        lambda: quiet(1, verbose=True),
        "229897c5f639166a811137ab3995fb152579a007d91848931aba2c863e841385",
    ),
    (
        "a fan-out",
        lambda: fl.fan_in(fl.fan_out(quiet, over=fl.grid(x=[1, 2])), fl.best(max="value")),
        "023094f999186fcb02ef0f507bfb28e151a6bcf10043dfc0536acbfa8da0d720",
    ),
]


@pytest.mark.parametrize(("make", "expected"), [pytest.param(make, key, id=name) for name, make, key in GOLDEN])
def test_keys_are_pinned(make: Callable[[], Any], expected: str) -> None:
    """A change here throws every cache away: it needs a new scheme in `planning/key.py` and a line in the changelog."""
    assert key_of(make(), environ={"MODE": "fast"}).key == expected


def test_parts_are_named() -> None:
    """What a key is made of is kept beside it, for `why`."""
    call = key_of(versioned.options(name="v")(1), environ={"MODE": "fast"})
    assert call.parts == {"code": CODE, "version": "2", "env:MODE": "fast", "arg:x": fl.digest(1)}
    assert set(key_of(fit(load(3))).parts) == {"code", "version", "arg:data", "arg:lr", "arg:depth"}


@pytest.mark.parametrize(
    "other",
    [
        lambda: fit([1], lr=0.1, depth=4),
        lambda: fit(data=[1]),
        lambda: fit.options(tags=["x"], priority=3)([1]),
        lambda: fit([1], depth=4),
    ],
)
def test_how_a_call_is_written_and_executed_is_not_in_its_key(other: Callable[[], Any]) -> None:
    """Defaults, keywords and options of execution make no difference."""
    assert key_of(other()).key == key_of(fit([1])).key


@pytest.mark.parametrize(
    "other",
    [
        lambda: fit([1], lr=0.2),
        lambda: fit([True]),
        lambda: fit((1,)),
        lambda: fit.options(version="2")([1]),
        lambda: fit.options(name="other")([1]),
        lambda: fit.options(env=["MODE"])([1]),
        lambda: fit([load(1)]),
    ],
)
def test_whatever_a_result_depends_on_is_in_its_key(other: Callable[[], Any]) -> None:
    """Another value, type, version, name, variable or input is another call."""
    assert key_of(other()).key != key_of(fit([1])).key


def test_a_node_counts_by_its_output_alone() -> None:
    """Early cut-off: how an input was made is not in the key."""
    assert key_of(fit(load(3))).key == key_of(fit(load(4))).key
    assert key_of(fit(load(3))).key != key_of(fit(load(3)), output=fl.digest(1)).key


def test_ignored_parameters_are_not_in_the_key() -> None:
    """By option or by annotation."""

    @fl.task
    def annotated(x: int, log: Annotated[Any, fl.Ignore] = None) -> int:
        return x

    assert key_of(quiet(1)).key == key_of(quiet(1, verbose=True)).key
    assert key_of(annotated(1)).key == key_of(annotated(1, log=threading.Lock())).key is not None
    assert "arg:log" not in key_of(annotated(1)).parts


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (threading.Lock(), "data"),
        ([1, {"deep": (0, threading.Lock())}], "data[1]['deep'][1]"),
        ({"model": threading.Event()}, "data['model']._cond._lock"),
    ],
)
def test_an_argument_without_a_digest_makes_no_key(value: Any, path: str) -> None:
    """All or nothing: there is no weaker key, and the path to the part is said."""
    call = key_of(fit(value))
    assert call.key is None
    assert call.uncacheable.startswith(f"argument 'data' has no stable digest: {path} (")
    assert not call.uncacheable.endswith(".")


def test_an_input_without_a_digest_makes_no_key() -> None:
    """The result above is named."""
    call = key_of(fit(load(3)), output=None)
    assert (call.key, call.uncacheable) == (None, "the result of 'load', which it needs, has no digest")


def test_a_hook_that_raises_makes_no_key() -> None:
    """A broken __flowlib_digest__ of the user's is a reason, not a crash."""

    class Broken:
        def __flowlib_digest__(self) -> Any:
            raise ZeroDivisionError("no digest today")

    assert "ZeroDivisionError: no digest today" in key_of(fit(Broken())).uncacheable


def test_a_missing_file_is_kept_as_the_error_it_is() -> None:
    """There is no point in running a call whose declared file does not exist."""
    call = key_of(fit({"raw": [fl.File("data/none.csv")]}))
    assert call.key is None
    assert isinstance(call.missing, FileMissing)
    assert call.uncacheable == "argument 'data' has no stable digest: There is no file at 'data/none.csv'"


def test_code_that_cannot_be_identified_makes_no_key() -> None:
    """The reason is the error's, whatever it was."""

    class NoCode(FixedCode):
        def code_version(self, fn: object) -> CodeVersion:
            raise fl.CodeNotFound("The code of 'fit' cannot be found.")

    class Crash(FixedCode):
        def code_version(self, fn: object) -> CodeVersion:
            raise OSError("module on fire")

    assert KeyMaker(NoCode(), {}).key_of(fit(1), lambda node: OUTPUT).uncacheable == "The code of 'fit' cannot be found"
    assert "OSError: module on fire" in KeyMaker(Crash(), {}).key_of(fit(1), lambda node: OUTPUT).uncacheable
    assert key_of(fit.options(cache=False)(1)).uncacheable == "the task says cache=False"


def test_a_weak_code_version_makes_a_weak_key() -> None:
    """`why` shows it."""
    assert KeyMaker(FixedCode(weak=("POOL",)), {}).key_of(fit(1), lambda node: OUTPUT).weak
    assert not key_of(fit(1)).weak


def test_code_is_looked_at_once_in_a_run() -> None:
    """Frozen identity: later nodes, inner runs and what joined the graph use the version that was taken down."""
    asked: list[object] = []

    class Counting(FixedCode):
        def code_version(self, fn: object) -> CodeVersion:
            asked.append(fn)
            return super().code_version(fn)

    keys = KeyMaker(Counting(), {})
    nodes: list[Node] = [fit(1), fit(2), load(3)]  # type: ignore[list-item]
    keys.freeze(nodes)
    for maker in (keys, keys.for_inner_run()):
        for node in nodes:
            maker.key_of(node, lambda dependency: OUTPUT)

    assert asked == [fit.fn, load.fn]


def test_a_large_argument_of_many_calls_is_digested_once() -> None:
    """A table passed to each point of a sweep costs one pass over its bytes; an inner run looks again."""
    np = pytest.importorskip("numpy")
    digested: list[object] = []

    class Counting(FixedCode):
        def digest(self, value: object, path: str = "") -> Digest:
            if isinstance(value, np.ndarray):
                digested.append(value)
            return super().digest(value, path)

    keys, table = KeyMaker(Counting(), {}), np.zeros(100_000)
    for maker in (keys, keys, keys.for_inner_run()):
        for lr in (0.1, 0.2):
            maker.key_of(fit(table, lr=lr), lambda node: OUTPUT)

    assert len(digested) == 2


@attrs.frozen
class Config:
    path: Path
    rate: float


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Plain:
    pass


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (10**30, "1" + "0" * 30),
        ("a\nb\x1b[31m", "'a\\nb\\x1b[31m'"),
        (Plain(), "<Plain>"),
        (Rude(), "<Rude instance>"),
        ([1, 2, 3], "[1, 2, 3]"),
        (fl.File("data/train.csv"), "'data/train.csv'"),
        (print, "<built-in function print>"),
    ],
)
def test_previews_are_short_words(value: Any, text: str) -> None:
    """For people: one bounded line, no address, no failure."""
    assert preview(value) == text


def test_previews_of_large_values_are_bounded() -> None:
    """Nothing large is walked, a shape says more than numbers."""
    np = pytest.importorskip("numpy")
    assert preview(np.zeros((3, 4))) == "ndarray(3, 4)"
    assert preview("x" * 1000, width=20) == "'xxxxxx...xxxxxxx'" or len(preview("x" * 1000, width=20)) <= 20
    assert len(preview(list(range(10**6)))) <= 80
    assert len(preview({f"key {i}": "x" * 50 for i in range(100)})) <= 80
    assert " at 0x" not in preview(lambda x: x)
    assert previews(fit(load(3), lr=0.5)) == {"arg:data": "<load>", "arg:lr": "0.5", "arg:depth": "4"}


def test_an_entry_keeps_the_very_bytes_that_entered_the_key() -> None:
    """So the key can be made again from what is stored, and the parts are read from it."""
    maker = KeyMaker(FixedCode(), {"MODE": "x"})
    for node in (versioned(5), fit([1], lr=0.5), quiet(1, verbose=True), fit([load(1), 2], depth=load(2))):
        call = maker.key_of(node, lambda dependency: OUTPUT)
        shared, arguments, _ = call.details(texts(node))
        parts, shown = unpack_details((shared, arguments, texts(node)))

        prefix = make_task_part(node._fl_task, node._fl_policy, FixedCode(), {"MODE": "x"}).prefix
        prefix.update(arguments)
        assert prefix.hexdigest() == call.key
        assert parts == call.parts
        assert shown == previews(node)
