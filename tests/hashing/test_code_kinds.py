"""Every kind of code that a function can reach: an edit of it changes the version."""

import sys
from pathlib import Path

import pytest

from tests.hashing.code_project import Project, open_project, short_names

# name -> (main module, text, another text in its place)
CASES = {
    "recursion": ("def entry(n): return 1 if n < 1 else n * entry(n - 1)", "n * entry", "n + entry"),
    "mutual recursion": (
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)\ndef entry(n): return even(n)",
        "n != 0", "n > 0"),
    "class that names itself": (
        "class A:\n def copy(self): return A()\n def go(self): return 1\ndef entry(): return A().copy().go()",
        "return 1", "return 2"),
    "base class": ("class B:\n def go(self): return 1\nclass A(B): pass\ndef entry(): return A().go()", "return 1", "return 2"),
    "base class swapped": (
        "class B:\n def go(self): return 1\nclass C:\n def go(self): return 2\nclass A(B): pass\ndef entry(): return A().go()",
        "A(B)", "A(C)"),
    "super": (
        "class B:\n def go(self): return 1\nclass A(B):\n def go(self): return super().go()\ndef entry(): return A().go()",
        "return 1", "return 2"),
    "metaclass": (
        "class M(type):\n def tag(cls): return 1\nclass A(metaclass=M): pass\ndef entry(): return A.tag()",
        "return 1", "return 2"),
    "init subclass": (
        "class B:\n def __init_subclass__(cls): cls.extra = 1\nclass A(B): pass\ndef entry(): return A.extra",
        "extra = 1", "extra = 2"),
    "property": ("class A:\n @property\n def p(self): return 1\ndef entry(): return A().p", "return 1", "return 2"),
    "property setter": (
        "class A:\n @property\n def p(self): return 0\n @p.setter\n def p(self, v): self.v = v + 1\ndef entry(): A().p = 3",
        "v + 1", "v + 2"),
    "cached property": (
        "import functools\nclass A:\n @functools.cached_property\n def p(self): return 1\ndef entry(): return A().p",
        "return 1", "return 2"),
    "static method": ("class A:\n @staticmethod\n def s(): return 1\ndef entry(): return A.s()", "return 1", "return 2"),
    "class method": ("class A:\n @classmethod\n def c(cls): return 1\ndef entry(): return A.c()", "return 1", "return 2"),
    "kind of method": (
        "class A:\n @classmethod\n def c(cls, *a): return a\ndef entry(): return A().c()", "classmethod", "staticmethod"),
    "partial method": (
        "import functools\nclass A:\n def f(self, x): return x\n g = functools.partialmethod(f, 1)\ndef entry(): return A().g()",
        "(f, 1)", "(f, 2)"),
    "nested class": ("class A:\n class B:\n  def go(self): return 1\ndef entry(): return A.B().go()", "return 1", "return 2"),
    "slots": ("class A:\n __slots__ = ('a',)\ndef entry(): return A()", "('a',)", "('b',)"),
    "dataclass default": (
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n a: int = 1\ndef entry(): return A().a", "= 1", "= 2"),
    "dataclass factory": (
        ("import dataclasses\n@dataclasses.dataclass\nclass A:\n a: list = dataclasses.field(default_factory=lambda: [1])\n"
        "def entry(): return A().a"), "[1]", "[2]"),
    "dataclass field order": (
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n a: int\n b: int\ndef entry(): return A(1, 2).a",
        " a: int\n b: int", " b: int\n a: int"),
    "dataclass annotation": (
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n a: int\ndef entry(): return A(1)", "a: int", "a: float"),
    "dataclass option": (
        "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass A:\n a: int\ndef entry(): return A(1)",
        "frozen=True", "frozen=False"),
    "attrs default": ("import attrs\n@attrs.frozen\nclass A:\n a: int = 1\ndef entry(): return A().a", "= 1", "= 2"),
    "attrs validator": (
        ("import attrs\ndef check(i, a, v): return 1\n@attrs.frozen\nclass A:\n a: int = attrs.field(validator=check)\n"
        "def entry(): return A(1)"), "return 1", "return 2"),
    "pydantic default": ("import pydantic\nclass A(pydantic.BaseModel):\n a: int = 1\ndef entry(): return A().a", "= 1", "= 2"),
    "pydantic annotation": ("import pydantic\nclass A(pydantic.BaseModel):\n a: int\ndef entry(): return A(a='1').a", ": int", ": str"),
    "pydantic constraint": (
        "import pydantic\nclass A(pydantic.BaseModel):\n a: int = pydantic.Field(gt=1)\ndef entry(): return A(a=3).a", "gt=1", "gt=2"),
    "pydantic validator": (
        ("import pydantic\nclass A(pydantic.BaseModel):\n a: int\n @pydantic.field_validator('a')\n @classmethod\n"
        " def check(cls, v): return v + 1\ndef entry(): return A(a=3).a"), "v + 1", "v + 2"),
    "nested pydantic model": (
        ("import pydantic\nclass B(pydantic.BaseModel):\n b: int = 1\nclass A(pydantic.BaseModel):\n a: list[B]\n"
        "def entry(): return A(a=[{}])"), "b: int = 1", "b: int = 2"),
    "named tuple default": (
        "import typing\nclass A(typing.NamedTuple):\n a: int = 1\ndef entry(): return A().a", "= 1", "= 2"),
    "named tuple function": (
        "import collections\nA = collections.namedtuple('A', 'a b')\ndef entry(): return A(1, 2).a", "'a b'", "'b a'"),
    "enum value": ("import enum\nclass A(enum.Enum):\n X = 1\ndef entry(): return A.X.value", "X = 1", "X = 2"),
    "enum method": (
        "import enum\nclass A(enum.Enum):\n X = 1\n def go(self): return 1\ndef entry(): return A.X.go()", "return 1", "return 2"),
    "enum member in a global": (
        "import enum\nclass A(enum.Enum):\n X = 1\n def go(self): return 1\nMODE = A.X\ndef entry(): return MODE.go()",
        "return 1", "return 2"),
    "enum order": (
        "import enum\nclass A(enum.Enum):\n X = 1\n Y = 2\ndef entry(): return [*A]", " X = 1\n Y = 2", " Y = 2\n X = 1"),
    "class that a library's function makes": (
        "import dataclasses\nA = dataclasses.make_dataclass('A', [('a', int, 1)])\ndef entry(): return A().a", "1)", "2)"),
    "class that a library's metaclass makes": (
        "import abc\nA = abc.ABCMeta('A', (), {'go': lambda self: 1})\ndef entry(): return A().go()", ": 1", ": 2"),
    "name of a function in a list": (
        "def f(): return 1\nfs = [f]\ndef entry(): return [g.__name__ for g in fs]",
        "def f(): return 1\nfs = [f]", "def g(): return 1\nfs = [g]"),
    "name of a method in a list": (
        "class A:\n def f(self): return 1\nfs = [A.f]\ndef entry(): return [g.__qualname__ for g in fs]",
        "def f(self): return 1\nfs = [A.f]", "def g(self): return 1\nfs = [A.g]"),
    "abstract base": (
        ("import abc\nclass B(abc.ABC):\n @abc.abstractmethod\n def go(self): return 1\nclass A(B):\n"
        " def go(self): return super().go()\ndef entry(): return A().go()"), "return 1", "return 2"),
    "class made in the body": ("def entry():\n class A:\n  def go(self): return 1\n return A().go()", "return 1", "return 2"),
    "instance of a class": (
        "class A:\n def __init__(self, n): self.n = n\n def go(self): return self.n\na = A(1)\ndef entry(): return a.go()",
        "A(1)", "A(2)"),
    "class of an instance": ("class A:\n def go(self): return 1\na = A()\ndef entry(): return a.go()", "return 1", "return 2"),
    "callable instance": (
        "class A:\n def __call__(self): return 1\na = A()\ndef entry(): return a()", "return 1", "return 2"),
    "bound method": (
        "class A:\n def __init__(self, n): self.n = n\n def go(self): return self.n\ngo = A(1).go\ndef entry(): return go()",
        "A(1)", "A(2)"),
    "partial function": (
        "import functools\ndef f(x): return x + 1\ng = functools.partial(f, 1)\ndef entry(): return g()", "x + 1", "x + 2"),
    "partial argument": (
        "import functools\ndef f(x): return x + 1\ng = functools.partial(f, 1)\ndef entry(): return g()", "(f, 1)", "(f, 2)"),
    "lambda": ("f = lambda x: x + 1\ndef entry(): return f(1)", "x + 1", "x + 2"),
    "list of lambdas": ("fs = [lambda: 1, lambda: 2]\ndef entry(): return fs[1]()", "lambda: 2", "lambda: 3"),
    "swapped lambdas": ("fs = {'a': lambda: 1, 'b': lambda: 2}\ndef entry(): return fs['a']()", "1, 'b': lambda: 2", "2, 'b': lambda: 1"),
    "swapped closures": (
        "def m(k): return lambda: k\nfs = {'a': m(1), 'b': m(2)}\ndef entry(): return fs['a']()",
        "m(1), 'b': m(2)", "m(2), 'b': m(1)"),
    "swapped helpers": ("def f(): return 1\ndef g(): return 2\na, b = f, g\ndef entry(): return a() - b()", "= f, g", "= g, f"),
    "set of functions": ("def f(): return 1\nfs = {f}\ndef entry(): return [g() for g in fs]", "return 1", "return 2"),
    "function in an attribute": (
        "class A: pass\na = A()\ndef f(): return 1\na.f = f\ndef entry(): return a.f()", "return 1", "return 2"),
    "registry filled by a decorator": (
        "R = {}\ndef reg(fn):\n R[fn.__name__] = fn\n return fn\n@reg\ndef f(): return 1\ndef entry(): return R['f']()",
        "return 1", "return 2"),
    "registry that holds its user": (
        "R = {}\ndef reg(fn):\n R[fn.__name__] = fn\n return fn\n@reg\ndef f(): return 1\n@reg\ndef entry(): return R['f']()",
        "return 1", "return 2"),
    "wraps": (
        ("import functools\ndef d(fn):\n @functools.wraps(fn)\n def w(): return fn() + 1\n return w\n@d\ndef f(): return 1\n"
        "def entry(): return f()"), "fn() + 1", "fn() + 2"),
    "class decorator": (
        "def d(cls):\n cls.go = lambda self: 1\n return cls\n@d\nclass A: pass\ndef entry(): return A().go()",
        "self: 1", "self: 2"),
    "decorator made of a class": (
        ("import functools\nclass D:\n def __init__(self, fn): functools.update_wrapper(self, fn)\n"
        " def __call__(self): return self.__wrapped__() + 1\n@D\ndef f(): return 1\ndef entry(): return f()"),
        "+ 1\n@", "+ 2\n@"),
    "annotation that a library reads": (
        "import pydantic\n@pydantic.validate_call\ndef f(x: int): return x\ndef entry(): return f('1')", "x: int", "x: str"),
    "object with a digest of its own": (
        ("class A:\n def __flowlib_digest__(self): return 1\n def go(self): return 1\nL = [{'a': A()}]\n"
        "def entry(): return L[0]['a'].go()"), "go(self): return 1", "go(self): return 2"),
    "lru cache": (
        "import functools\n@functools.lru_cache\ndef f(): return 1\ndef entry(): return f()", "return 1", "return 2"),
    "lru cache in a dict": (
        "import functools\n@functools.lru_cache\ndef f(): return 1\nD = {'f': f}\ndef entry(): return D['f']()",
        "return 1", "return 2"),
    "virtual subclass": (
        "import abc\nclass B(abc.ABC): pass\nclass A: pass\nB.register(A)\ndef entry(): return isinstance(A(), B)",
        "B.register(A)", "B()"),
    "code of a virtual subclass": (
        ("import abc\nclass B(abc.ABC): pass\n@B.register\nclass A:\n def go(self): return 1\n"
        "def entry(x): return x.go() if isinstance(x, B) else 0"), "return 1", "return 2"),
    "single dispatch": (
        ("import functools\n@functools.singledispatch\ndef f(x): return 0\n@f.register(int)\ndef _(x): return 1\n"
        "def entry(): return f(1)"), "return 1", "return 2"),
    "context manager": (
        "import contextlib\n@contextlib.contextmanager\ndef f(): yield 1\ndef entry():\n with f() as x: return x", "yield 1", "yield 2"),
    "generator": ("def f(): yield 1\ndef entry(): return list(f())", "yield 1", "yield 2"),
    "async generator": ("async def f(): yield 1\nasync def entry(): return [x async for x in f()]", "yield 1", "yield 2"),
    "async helper": ("async def f(): return 1\nasync def entry(): return await f()", "return 1", "return 2"),
    "async or not": ("def f(): return 1\ndef entry(): return f()", "def f", "async def f"),
    "default that is a function": ("def f(): return 1\ndef entry(g=f): return g()", "return 1", "return 2"),
    "mutable default": ("def entry(x=[1, {'a': (2,)}]): return x", "(2,)", "(3,)"),
    "function attribute": ("def f(): return f.n\nf.n = 1\ndef entry(): return f()", "f.n = 1", "f.n = 2"),
    "missing global": ("def entry(): return nowhere", "def entry", "nowhere = 1\ndef entry"),
    "global statement": ("n = 1\ndef entry():\n global n\n return n", "n = 1", "n = 2"),
    "local instead of global": ("n = 1\ndef entry(x):\n if x: m = 2\n return n", " m = 2", " n = 2"),
    "name in a comprehension": ("n = 1\ndef entry(): return [n for _ in range(2)]", "n = 1", "n = 2"),
    "name in a nested function": ("n = 1\ndef entry():\n def f(): return n\n return f()", "n = 1", "n = 2"),
    "name in a format string": ("n = 1\ndef entry(): return f'{n:>{n}}'", "n = 1", "n = 2"),
    "name in a default inside": ("n = 1\ndef entry():\n def f(x=n): return x\n return f()", "n = 1", "n = 2"),
    "name read by eval": ("n = 1\ndef entry(): return eval('n + 1')", "n = 1", "n = 2"),
    "name read by globals()": ("n = 1\ndef entry(): return globals()['n']", "n = 1", "n = 2"),
    "swapped locals in a query": (
        "def entry(df):\n a = 1\n b = 2\n return df.query('x > @a')", " a = 1\n b = 2", " b = 1\n a = 2"),
    "exception name": ("class E(Exception): code = 1\ndef entry():\n try: raise E\n except E as e: return e.code", "code = 1", "code = 2"),
    "match pattern": ("def entry(x):\n match x:\n  case {'a': n}: return n", "'a'", "'b'"),
    "walrus": ("def entry(x): return (y := x) + y", "+ y", "- y"),
    "integer or float": ("def entry(): return 1", "return 1", "return 1.0"),
    "integer or bool": ("def entry(): return 1", "return 1", "return True"),
    "type alias by value": ("K = (1, 'a')\ndef entry(): return K", "(1, 'a')", "[1, 'a']"),
    "imported constant": ("from math import pi\ndef entry(): return pi", "import pi", "import e as pi"),
    "imported function": ("from math import sin as f\ndef entry(): return f(1)", "import sin", "import cos"),
    "module behind a name": ("import math as m\ndef entry(): return m.sqrt(1)", "import math", "import cmath"),
    "builtin shadowed": ("def entry(x): return len(x)", "def entry", "def len(x): return 1\ndef entry"),
    "iadd to a global list": ("L = [1]\nL += [2]\ndef entry(): return L", "+= [2]", "+= [3]"),
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a folder to import small packages from."""
    return open_project(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", CASES)
def test_an_edit_of_what_is_reached_changes_the_version(project: Project, name: str) -> None:
    """The version differs after the edit, and is the same when the text is loaded once more."""
    main, old, new = CASES[name]
    assert old in main

    before = project.version(main)
    assert project.digest(main) == before.digest
    assert project.digest(main.replace(old, new)) != before.digest
    assert before.weak == ()


IMPORTS = {
    "in the body": "def entry():\n from .util import f\n return f()",
    "module in the body": "def entry():\n from . import util\n return util.f()",
    "alias in the body": "def entry():\n from . import util as u\n v = u\n return v.f()",
    "in a comprehension": "def entry():\n from . import util\n return [util.f() for _ in range(2)]",
    "in a nested function": "def entry():\n from . import util\n def g(): return util.f()\n return g()",
    "in a helper's body": "def g():\n from .util import f\n return f()\ndef entry(): return g()",
    "at the top": "from .util import f\ndef entry(): return f()",
    "star": "from .util import *\ndef entry(): return f()",
    "module": "from . import util\ndef entry(): return util.f()",
    "getattr": "from . import util\ndef entry(): return getattr(util, 'f')()",
    "getattr with default": "from . import util\ndef entry(): return getattr(util, 'f', None)()",
    "module handed around": "from . import util\ndef call(m): return m.f()\ndef entry(): return call(util)",
    "module in a closure": "from . import util\ndef make(m): return lambda: m.f()\nentry = make(util)",
    "absent at first": "try:\n from .absent import f\nexcept ImportError:\n from .util import f\ndef entry(): return f()",
    "package attribute": "from . import pkg\ndef entry(): return pkg.sub.f()",
    "package in the body": "def entry():\n import importlib\n from .pkg import sub\n return sub.f()",
    "monkeypatched": "from . import util\nutil.g = lambda: util.f()\ndef entry(): return util.g()",
}


@pytest.mark.parametrize("name", IMPORTS)
def test_an_edit_of_an_imported_module_changes_the_version(project: Project, name: str) -> None:
    """However a helper is imported, its code counts, and what nobody uses does not."""
    main = IMPORTS[name]
    util = "def f(): return 1\ndef g(): return 5\n"

    def digest(text: str) -> str:
        modules = {"util": text, "pkg/__init__": "from . import sub\n", "pkg/sub": text}
        return project.digest(main, **modules)

    assert digest(util.replace("return 1", "return 2")) != digest(util)
    assert digest(util.replace("def f", "# moved\ndef f")) == digest(util)
    if name != "module handed around":
        assert digest(util.replace("return 5", "return 6")) == digest(util)


MODULE_WITH_CLASS = """
import sys, types
class Settings(types.ModuleType):
 @property
 def LIMIT(self): return helper(self._limit)
def helper(x): return x + 1
_limit, unread = 1, 5
sys.modules[__name__].__class__ = Settings
"""


@pytest.mark.parametrize(
    ("old", "new"), [("x + 1", "x + 2"), ("_limit, unread = 1", "_limit, unread = 2"), ("LIMIT", "L")]
)
@pytest.mark.parametrize(
    "main",
    [
        "from . import settings\ndef entry(): return settings.LIMIT",
        "from . import settings\ndef call(m): return m.LIMIT\ndef entry(): return call(settings)",
    ],
)
def test_a_module_with_a_class_of_its_own_counts_whole(project: Project, main: str, old: str, new: str) -> None:
    """A property of its class can read all of the module, so the class and everything in the module count."""
    digest = project.digest(main, settings=MODULE_WITH_CLASS)

    assert project.digest(main, settings=MODULE_WITH_CLASS) == digest
    assert project.digest(main, settings=MODULE_WITH_CLASS.replace(old, new)) != digest


def test_a_plain_name_of_a_module_with_a_class_of_its_own_counts_alone(project: Project) -> None:
    """What the class has no say in is read as in any module."""
    main = "from . import settings\ndef entry(): return settings.unread"
    digest = project.digest(main, settings=MODULE_WITH_CLASS)

    assert project.digest(main, settings=MODULE_WITH_CLASS.replace("x + 1", "x + 2")) == digest
    assert project.digest(main, settings=MODULE_WITH_CLASS.replace(", 5", ", 6")) != digest


def test_a_virtual_subclass_that_was_defined_again_counts_once(project: Project) -> None:
    """A notebook cell that is executed again registers a second class of the name; the first may live on."""
    main = project.load(
        "import abc\nclass B(abc.ABC): pass\nclass A: pass\nB.register(A)\ndef entry(x): return isinstance(x, B)"
    )
    before = project.version_of(main.entry).digest
    first = main.A
    exec("class A: pass\nB.register(A)", vars(main))

    assert main.A is not first
    assert project.version_of(main.entry).digest == before


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement is new in Python 3.12")
def test_a_type_alias_counts(project: Project) -> None:
    """It has no digest, so it counts by the statement that makes it, and says so."""
    one, two = (project.version(f"type X = {what}\ndef entry(): return X") for what in ("list[int]", "list[str]"))

    assert one.digest != two.digest
    assert [name.partition(".")[2] for name in one.weak] == ["main.X"]


def test_an_unimported_user_module_is_imported_to_be_read(project: Project) -> None:
    """A module that only a body imports has the same version before and after somebody loads it."""
    main = project.load("def entry():\n from . import later\n return later.f()", later="def f(): return 1")
    before = project.version_of(main.entry)
    assert main.entry() == 1

    assert project.version_of(main.entry) == before
    assert any(name.endswith("later.f") for name in before.parts)


def test_an_unimported_library_is_not_imported(project: Project) -> None:
    """A library that only a body imports counts by name and version; nothing is loaded to find that out."""
    main = project.load("def entry():\n import nbclient\n return nbclient.execute(1)")
    loaded = "nbclient" in sys.modules
    version = project.version_of(main.entry)

    assert any(name.startswith("nbclient ") for name in version.parts)
    assert ("nbclient" in sys.modules) == loaded


def test_a_method_counts_with_its_class(project: Project) -> None:
    """`self.other()` can reach the whole class, so a bound or plain method brings it along."""
    text = "class A:\n def go(self): return self.other()\n def other(self): return 1\ngo = A.go\nbound = A().go"
    changed = text.replace("return 1", "return 2")

    assert project.digest(text, "go") != project.digest(changed, "go")
    assert project.digest(text, "bound") != project.digest(changed, "bound")


def test_lambdas_on_one_line_are_told_apart(project: Project) -> None:
    """The code object says which of several lambdas on a line is meant."""
    one = project.load("fs = [lambda x: x + 1, lambda x: x + 2, lambda x: (lambda y: y + 3)(x)]")
    two = project.load("fs = [lambda x: x + 2]\n")
    versions = [project.version_of(f) for f in one.fs]

    assert len({version.digest for version in versions}) == 3
    assert versions[1].digest == project.version_of(two.fs[0]).digest
    assert all(version.texts for version in versions)


def test_products_of_one_factory_are_named_apart(project: Project) -> None:
    """Parts with one readable name get a number."""
    names = short_names(project.version("def m(k): return lambda: k\na, b = m(1), m(2)\ndef entry(): return a() + b()"))

    assert {"main.m.<locals>.<lambda>: k", "main.m.<locals>.<lambda>: k #2"} <= names


def test_a_shared_helper_does_not_make_versions_equal(project: Project) -> None:
    """Two functions that reach the same helper still differ by their own bodies."""
    main = project.load("def f(): return 1\ndef a(): return f()\ndef b(): return -f()")

    assert project.version_of(main.a).digest != project.version_of(main.b).digest


def test_the_name_of_a_function_is_part_of_its_version(project: Project) -> None:
    """Whoever is handed a function can ask for its name; the names of its variables stay its own."""
    main = project.load("def a(x):\n y = x\n return y\nb = a\ndef c(x):\n y = x\n return y")

    assert project.version_of(main.a).digest == project.version_of(main.b).digest
    assert project.version_of(main.a).digest != project.version_of(main.c).digest


@pytest.mark.parametrize("maker", ["attrs.define", "dataclasses.dataclass"])
def test_a_class_does_not_depend_on_the_class_made_last(project: Project, maker: str) -> None:
    """Libraries put one function into all the classes they make and name it after the last of them (Python 3.13)."""
    module = maker.partition(".")[0]
    main = project.load(f"import {module}\n@{maker}\nclass A:\n a: int = 1\ndef entry(): return A().a")
    before = project.version_of(main.entry).digest
    project.load(f"import {module}\n@{maker}\nclass Other:\n b: int = 1")

    assert project.version_of(main.entry).digest == before


def test_versions_do_not_depend_on_who_asked_first(project: Project) -> None:
    """In a recursive group, each member has one version, whichever was asked for first."""
    text = "def a(n): return b(n)\ndef b(n): return c(n) or n\ndef c(n): return a(n) + b(n)\nR = {'a': a, 'k': [b]}\ndef d(): return R"
    from flowlib.hashing.code import CodeVersions

    main = project.load(text)
    functions = [main.a, main.b, main.c, main.d]
    forward, backward = CodeVersions(project.index), CodeVersions(project.index)

    one = [forward.version(f).digest for f in functions]
    two = [backward.version(f).digest for f in reversed(functions)][::-1]
    assert one == two
    assert len(set(one)) == 4


def test_copying_an_instance_does_not_change_its_class() -> None:
    """Copyreg leaves `__slotnames__` on a class when an instance is copied; that is bookkeeping, not code."""
    import copy

    from flowlib.hashing.code import CodeVersions

    class Model:
        def predict(self) -> int:
            return 1

    before = CodeVersions().version(Model).digest
    copy.deepcopy(Model())
    assert "__slotnames__" in vars(Model)
    assert CodeVersions().version(Model).digest == before
