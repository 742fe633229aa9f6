"""Value digests of the standard library's types, of classes, enums and instances, and what users can say about theirs."""

# ruff: noqa: DTZ001 - naive datetimes are values, too
import array
import dataclasses
import datetime as dt
import enum
import functools
import json
import math
import operator
import pickle
import re
import time
import types
import typing
import uuid
import zoneinfo
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque, namedtuple
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import attrs
import numpy as np
import pydantic
import pytest

from flowlib.errors import CodeNotFound, Undigestible
from flowlib.hashing.canonical import Ignore, digest_value, register_digest
from flowlib.ids import Digest

if typing.TYPE_CHECKING:
    from somewhere import Unheard

PARIS = zoneinfo.ZoneInfo("Europe/Paris")
T = TypeVar("T")


class Colour(enum.Enum):
    RED = 1
    BLUE = "1"


class Shade(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    A = "a"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    x: int
    y: int = 2


Couple = namedtuple("Couple", "x y")
Turned = namedtuple("Couple", "y x")


@dataclasses.dataclass
class Data:
    x: int = 1
    y: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    x: int = 1


@attrs.define
class Attrs:
    x: int = 1

    @cached_property
    def twice(self) -> int:
        """Twice x, kept in a slot by attrs."""
        return 2 * self.x


@attrs.frozen(slots=False, cache_hash=True)
class Frozen:
    x: int = 1


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    x: int = 1
    quiet: Annotated[bool, Ignore] = False
    _private: int = 0


class Plain:
    def __init__(self, x: Any = 1) -> None:
        self.x = x

    @cached_property
    def twice(self) -> Any:
        """Twice x, kept in __dict__."""
        return 2 * self.x


class Generically(Plain, Generic[T]):
    """A plain class with a type parameter."""


class WithSlots:
    __slots__ = ("__hidden", "x", "y")

    def __init__(self, x: int, hidden: int = 0) -> None:
        self.x = x
        self.__hidden = hidden


class MoreSlots(WithSlots):
    __slots__ = ("__dict__", "z")


class Words(list[str]):
    label = ""

    def __iter__(self) -> Any:
        raise AssertionError("the content of a subclass is read past what it overrides")

    __len__ = __getitem__ = copy = __iter__  # type: ignore[assignment]


class Table(dict[str, int]):
    """A dict with attributes."""


class Money(Decimal):
    """A decimal."""


class Oops(ValueError):
    """An exception."""


# Values that all differ from each other, each made anew by its function.
VALUES: dict[str, Callable[[], Any]] = {
    "OrderedDict": lambda: OrderedDict(a=1, b=2),
    "OrderedDict, other order": lambda: OrderedDict(b=2, a=1),
    "dict": lambda: {"a": 1, "b": 2},
    "defaultdict": lambda: defaultdict(None, a=1, b=2),
    "defaultdict of int": lambda: defaultdict(int, a=1, b=2),
    "Counter": lambda: Counter(a=1, b=2),
    "Counter with zero": lambda: Counter(a=1, b=2, c=0),
    "UserDict": lambda: UserDict(a=1, b=2),
    "UserList": lambda: UserList([1]),
    "ChainMap": lambda: ChainMap({"a": 1, "b": 2}),
    "mappingproxy": lambda: types.MappingProxyType({"a": 1, "b": 2}),
    "namespace": lambda: types.SimpleNamespace(a=1, b=2),
    "Table": lambda: Table(a=1, b=2),
    "deque": lambda: deque([1, 2]),
    "bounded deque": lambda: deque([1, 2], 5),
    "list": lambda: [1, 2],
    "range": lambda: range(1, 5, 2),
    "range, other stop": lambda: range(1, 4, 2),
    "slice": lambda: slice(1, 5, 2),
    "Ellipsis": lambda: ...,
    "enum": lambda: Colour.RED,
    "enum, other member": lambda: Colour.BLUE,
    "enum, other class": lambda: Shade.RED,
    "int enum": lambda: Level.LOW,
    "str enum": lambda: Word.A,
    "flag": lambda: Access.READ,
    "flags": lambda: Access.READ | Access.WRITE,
    "NamedTuple": lambda: Pair(1),
    "namedtuple": lambda: Couple(1, 2),
    "namedtuple, other fields": lambda: Turned(1, 2),
    "tuple": lambda: (1, 2),
    "dataclass": lambda: Data(),
    "dataclass, other field": lambda: Data(y=Data()),
    "slotted": lambda: Slotted(),
    "attrs": lambda: Attrs(),
    "attrs, other value": lambda: Attrs(2),
    "frozen attrs": lambda: Frozen(),
    "pydantic": lambda: Model(),
    "pydantic, extra": lambda: Model(z=1),
    "plain": lambda: Plain(),
    "plain, other value": lambda: Plain(True),
    "generic": lambda: Generically(),
    "slots": lambda: WithSlots(1),
    "slots, hidden": lambda: WithSlots(1, 2),
    "more slots": lambda: MoreSlots(1),
    "words": lambda: Words(["a"]),
    "money": lambda: Money("1.0"),
    "Decimal": lambda: Decimal("1.0"),
    "Decimal, more digits": lambda: Decimal("1.00"),
    "Decimal NaN": lambda: Decimal("NaN"),
    "Decimal sNaN": lambda: Decimal("sNaN"),
    "Decimal -0": lambda: Decimal("-0"),
    "Fraction": lambda: Fraction(1, 2),
    "UUID": lambda: uuid.UUID(int=1),
    "Path": lambda: Path("a"),
    "PurePosixPath": lambda: PurePosixPath("a"),
    "PureWindowsPath": lambda: PureWindowsPath("a"),
    "naive": lambda: dt.datetime(2024, 10, 27, 2, 30),
    "naive, fold": lambda: dt.datetime(2024, 10, 27, 2, 30, fold=1),
    "UTC": lambda: dt.datetime(2024, 10, 27, 2, 30, tzinfo=dt.UTC),
    "Paris": lambda: dt.datetime(2024, 10, 27, 2, 30, tzinfo=PARIS),
    "Paris, an hour later": lambda: dt.datetime(2024, 10, 27, 2, 30, tzinfo=PARIS, fold=1),
    "first moment": lambda: dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=5))),
    "date": lambda: dt.date(2024, 10, 27),
    "time": lambda: dt.time(2, 30),
    "time, microsecond": lambda: dt.time(2, 30, 0, 1),
    "time in Paris": lambda: dt.time(2, 30, tzinfo=PARIS),
    "timedelta": lambda: dt.timedelta(days=-1, microseconds=1),
    "timezone": lambda: dt.timezone(dt.timedelta(hours=1)),
    "named timezone": lambda: dt.timezone(dt.timedelta(hours=1), "CET"),
    "ZoneInfo": lambda: PARIS,
    "pattern": lambda: re.compile("a"),
    "pattern, flags": lambda: re.compile("a", re.I),
    "pattern of bytes": lambda: re.compile(b"a"),
    "memoryview": lambda: memoryview(b"ab"),
    "memoryview, shape": lambda: memoryview(b"ab").cast("B", (2, 1)),
    "array": lambda: array.array("i", [1]),
    "array, type code": lambda: array.array("I", [1]),
    "exception": lambda: ValueError("a"),
    "exception, arguments": lambda: ValueError("b"),
    "exception, class": lambda: TypeError("a"),
    "own exception": lambda: Oops("a"),
    "OSError": lambda: FileNotFoundError(2, "gone", "a"),
    "OSError, other file": lambda: FileNotFoundError(2, "gone", "b"),
    "exception group": lambda: ExceptionGroup("a", [ValueError("b")]),
    "len": lambda: len,
    "json.dumps": lambda: json.dumps,
    "json.loads": lambda: json.loads,
    "math.sin": lambda: math.sin,
    "str.upper": lambda: str.upper,
    "bound str.upper": lambda: "a".upper,
    "bound append": lambda: [1].append,
    "classmethod": lambda: dict.fromkeys,
    "numpy function": lambda: np.mean,
    "ufunc": lambda: np.add,
    "partial": lambda: partial(max, 1, key=len),
    "partial, keywords": lambda: partial(max, 1),
    "itemgetter": lambda: operator.itemgetter(1),
    "attrgetter": lambda: operator.attrgetter("a"),
    "methodcaller": lambda: operator.methodcaller("a", 1),
    "int": lambda: int,
    "Path class": lambda: Path,
    "module": lambda: json,
}


NOT_PICKLED = {"mappingproxy", "memoryview", "memoryview, shape", "module", "words", "namedtuple, other fields"}


def test_every_value_differs_from_every_other() -> None:
    """By type, content, attribute."""
    by_digest: dict[str, str] = {}
    for name, make in VALUES.items():
        assert by_digest.setdefault(digest_value(make()), name) == name


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_the_same_when_made_or_loaded_again(name: str) -> None:
    """Two makings agree, and a value that went through pickle too."""
    value = VALUES[name]()

    assert digest_value(VALUES[name]()) == digest_value(value)
    if name not in NOT_PICKLED:
        assert digest_value(pickle.loads(pickle.dumps(value))) == digest_value(value)


def test_an_aware_datetime_is_its_instant_and_its_zone() -> None:
    """`fold` where nothing repeats says nothing; the same instant elsewhere is another value."""
    noon = dt.datetime(2024, 1, 1, 12, tzinfo=PARIS)

    assert digest_value(noon) == digest_value(noon.replace(fold=1))
    assert digest_value(noon) != digest_value(noon.astimezone(dt.UTC))
    assert digest_value(dt.UTC) == digest_value(dt.timezone(dt.timedelta(0)))


def test_memoryviews_count_by_logical_content() -> None:
    """Strides leave no trace."""
    assert digest_value(memoryview(b"a-b-")[::2]) == digest_value(memoryview(b"ab"))


def test_what_a_property_keeps_is_not_state() -> None:
    """Reading a cached property, or hashing, must not change the digest."""
    for value in (Plain(3), Attrs(3), Frozen(3)):
        before = digest_value(value)
        assert hash(value) if isinstance(value, Frozen) else value.twice == 6
        assert digest_value(value) == before


def test_attributes_count_wherever_they_are_kept() -> None:
    """An attribute set on a dataclass, on a subclass of list, in a slot: each is seen."""
    for make in (Data, Plain, Words, Table, lambda: MoreSlots(1), lambda: Oops("a"), Frozen):
        bare, marked = make(), make()
        object.__setattr__(marked, "label", "new")
        assert digest_value(bare) != digest_value(marked)
    filled = WithSlots(1)
    filled.y = 2
    assert digest_value(filled) != digest_value(WithSlots(1))


def test_instances_of_classes_of_one_name_agree_wherever_they_live() -> None:
    """Moving a file keeps results: the module does not enter, and without code versions neither does the code."""

    def make(module: str) -> Any:
        cls = type("Config", (), {"__module__": module})
        config = cls()
        config.x = 1
        return config

    assert digest_value(make("old_place")) == digest_value(make("new_place"))


# ------------------------------------------------------------------------------------------------ code


def named(obj: Any) -> Digest:
    """Stand in for code versions by qualified name."""
    return Digest(f"sha256-code of {obj.__qualname__}-0")


def test_code_enters_by_its_version() -> None:
    """Functions, methods, classes, tasks, memoised functions: whatever the hook says."""

    class Task:
        __flowlib_task__ = True
        __qualname__ = "task"

    def helper() -> None: ...

    asked: list[Any] = []

    def hook(obj: Any) -> Digest:
        asked.append(obj)
        return Digest(f"sha256-{len(asked)}-0")

    task, plain = Task(), Plain()
    memoised = functools.lru_cache(helper)
    for value, expected in [
        (helper, helper),
        (task, task),
        (Plain, Plain),
        (plain, Plain),
        (memoised, helper),
        ([Data()], Data),
        (partial(helper), helper),
        (plain.__init__, Plain.__init__),
    ]:
        asked.clear()
        first, second = (digest_value(value, function_digest=hook), digest_value(value, function_digest=hook))
        assert expected in asked
        assert first != second


def test_a_class_is_asked_for_once_in_a_value() -> None:
    """However many instances there are."""
    asked: list[Any] = []
    digest_value([Plain(i) for i in range(50)], function_digest=lambda obj: asked.append(obj) or Digest("sha256-x-0"))

    assert asked == [Plain]


def test_standard_and_installed_code_needs_no_version() -> None:
    """Names lead to it; a version would be looked up in vain."""

    def refuse(obj: Any) -> Digest:
        raise AssertionError(f"asked for {obj}")

    for name in ("len", "json.dumps", "numpy function", "ufunc", "int", "Path class", "UserDict", "partial"):
        assert digest_value(VALUES[name](), function_digest=refuse) == digest_value(VALUES[name]())


@pytest.mark.parametrize(
    "make", [lambda: lambda: 1, lambda: Plain().__init__, lambda: Plain, lambda: partial(lambda: 1)]
)
def test_user_code_without_a_version_is_refused(make: Callable[[], Any]) -> None:
    """A name says nothing about what code does."""
    with pytest.raises(Undigestible, match="identified by its code"):
        digest_value(make())


def test_trouble_with_a_code_version_is_told_at_its_place() -> None:
    """The error says where in the value the code sits, and what is wrong with it."""

    def lost(obj: Any) -> Digest:
        raise CodeNotFound("No source for it.")

    def unstable(obj: Any) -> Digest:
        raise Undigestible(path="client.lock", type_name="lock", reason="it is a lock")

    with pytest.raises(Undigestible, match="No source for it") as error:
        digest_value({"f": [lambda: 1]}, function_digest=lost)
    assert error.value.path == "['f'][0]"
    with pytest.raises(Undigestible, match=r"depends on client\.lock: it is a lock"):
        digest_value(Plain, function_digest=unstable)


def test_new_enum_members_change_nothing_and_versions_neither() -> None:
    """A member is its class's name, its name and its value."""
    grown = enum.Enum("Shade", {"RED": 1, "GREEN": 2}, qualname="Shade")

    assert digest_value(grown.RED) == digest_value(Shade.RED)
    assert digest_value(Shade.RED, function_digest=named) == digest_value(Shade.RED)


# ------------------------------------------------------------------------------------------------ what users say


class Own:
    def __init__(self, size: int) -> None:
        self.size = size
        self.handle = iter([])

    def __flowlib_digest__(self) -> object:
        """The size says it all."""
        return {"size": self.size}


class OtherOwn(Own):
    """Of another name."""


def test_an_object_can_say_what_it_consists_of() -> None:
    """`__flowlib_digest__` replaces the attributes; the class's name still counts."""
    assert digest_value(Own(1)) == digest_value(Own(1))
    assert len({digest_value(value) for value in (Own(1), Own(2), OtherOwn(1), {"size": 1})}) == 4


def test_what_an_object_says_may_be_refused() -> None:
    """The path leads through the method."""
    with pytest.raises(Undigestible) as error:
        digest_value([Own(iter([]))])  # type: ignore[arg-type]

    assert error.value.path == "[0].__flowlib_digest__()['size']"


def test_a_registered_function_says_what_a_class_consists_of() -> None:
    """It holds for subclasses, the nearest wins, and classes stay apart."""

    class Client:
        def __init__(self, url: str) -> None:
            self.url, self.lock = url, iter([])

    class Special(Client):
        """A subclass."""

    with pytest.raises(Undigestible):
        digest_value(Client("a"))
    register_digest(Client, lambda client: client.url)

    assert digest_value(Client("a")) == digest_value(Client("a"))
    assert len({digest_value(value) for value in (Client("a"), Client("b"), Special("a"), "a")}) == 4
    register_digest(Special, lambda client: "always")
    assert digest_value(Special("a")) == digest_value(Special("b"))


def test_a_registration_holds_for_library_types_too() -> None:
    """A user may know better what matters about an array."""

    class Measured(np.ndarray):
        """An array of a user."""

    value = np.array([1.0]).view(Measured)
    register_digest(Measured, lambda array: round(float(array[0])))

    assert digest_value(value) == digest_value(np.array([1.2]).view(Measured))


@pytest.mark.parametrize(("cls", "message"), [(int, "fixed"), (dict, "fixed"), ("text", "takes a class")])
def test_plain_types_cannot_be_registered(cls: Any, message: str) -> None:
    """Their digests are the same for everyone."""
    with pytest.raises(TypeError, match=message):
        register_digest(cls, str)


@dataclasses.dataclass
class Noisy:
    x: int
    verbose: Annotated[bool, Ignore] = False
    unknown: "Unheard | None" = None
    log: "Annotated[Unheard, Ignore()]" = None
    kinds: typing.ClassVar[Annotated[int, Ignore]] = 0


@attrs.define
class NoisyAttrs:
    x: int
    verbose: Annotated[bool, "note", Ignore] = False


class NoisyPlain:
    verbose: "Annotated[bool, Ignore]"

    def __init__(self, x: int, verbose: bool = False) -> None:
        self.x, self.verbose = x, verbose


class Louder(Noisy):
    """Inherits what is ignored."""


class Attentive(Noisy):
    """Takes the mark back."""

    verbose: bool


def test_ignored_fields_do_not_count() -> None:
    """In dataclasses, attrs, pydantic and plain classes; as text, or beside names that exist only for type checkers."""
    for make in (Noisy, NoisyAttrs, NoisyPlain, Louder):
        assert digest_value(make(1, verbose=True)) == digest_value(make(1, verbose=False))
        assert digest_value(make(1)) != digest_value(make(2))
    assert digest_value(Noisy(1, log=iter([]))) == digest_value(Noisy(1))
    assert digest_value(Model(quiet=True)) == digest_value(Model())  # nor whether they were set
    assert digest_value(Noisy(1, unknown=1)) != digest_value(Noisy(1))
    assert digest_value(Attentive(1, verbose=True)) != digest_value(Attentive(1))


def test_which_fields_of_a_model_were_set_counts() -> None:
    """A dump may leave out what was not; private and extra fields count as well."""
    private = Model()
    private._private = 5

    assert digest_value(Model(x=1)) != digest_value(Model())  # `model_dump(exclude_unset=True)` tells them apart
    assert digest_value(Model(x=1)) == digest_value(Model(x=2).model_copy(update={"x": 1}))
    assert digest_value(private) != digest_value(Model())


# ------------------------------------------------------------------------------------------------ refusals


class Reducing:
    def __reduce__(self) -> Any:
        return Reducing, ()


class Hiding(Plain):
    def __getstate__(self) -> Any:
        return {}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Reducing, "Reducing defines __reduce__"),
        (Hiding, "Hiding defines __getstate__"),
        (lambda: time.localtime(), "struct_time defines __reduce__|compiled class"),
        (lambda: re.match("", ""), "compiled class"),
        (lambda: functools.singledispatch(len), "identified by its code"),
    ],
)
def test_objects_that_may_hide_their_state_are_refused(make: Callable[[], Any], reason: str) -> None:
    """Half a state would be half a key."""
    with pytest.raises(Undigestible, match=reason):
        digest_value(make())
