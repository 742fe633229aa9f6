"""The two normal forms: what they drop, what they keep."""

import ast
import textwrap

import pytest

from flowlib.hashing.bytecode import instructions, normalize_code
from flowlib.hashing.normal import NormalForm, normalize_function, normalize_statements
from flowlib.hashing.reach import find_references


def form(text: str, free: tuple[str, ...] = ()) -> NormalForm:
    """Return the normal form of the only function in a text."""
    node = ast.parse(textwrap.dedent(text)).body[0]
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return normalize_function(node, free)


SAME = {
    "docstring": ("def f():\n 'a'\n return 1", "def f():\n return 1"),
    "only a docstring": ("def f():\n 'a'", "def f(): pass"),
    "empty else": ("def f(x):\n if x: y = 1\n else: pass", "def f(x):\n if x: y = 1"),
    "names of locals": ("def f(x):\n a = x\n for b in a: c = b\n return c", "def f(x):\n q = x\n for r in q: s = r\n return s"),
    "loop variable of a comprehension": ("def f(x): return [a for a in x if a]", "def f(x): return [b for b in x if b]"),
    "nested comprehension": ("def f(x): return [a for b in x for a in b]", "def f(x): return [y for z in x for y in z]"),
    "exception name": ("def f():\n try: g()\n except E as a: raise a", "def f():\n try: g()\n except E as b: raise b"),
    "with and star": ("def f(x):\n with x as (a, *b): return a, b", "def f(x):\n with x as (c, *d): return c, d"),
    "import alias": ("def f():\n import m as a\n return a.g()", "def f():\n import m as b\n return b.g()"),
    "name of a nested function": ("def f():\n def g(x): return x\n return g(1)", "def f():\n def h(x): return x\n return h(1)"),
    "walrus": ("def f(x): return [y := z for z in x], y", "def f(x): return [a := b for b in x], a"),
    "pattern": ("def f(x):\n match x:\n  case [a, *b] | {'k': a, **b}: return a, b", "def f(x):\n match x:\n  case [c, *d] | {'k': c, **d}: return c, d"),
    "nonlocal": (
        "def f():\n a = 1\n def g():\n  nonlocal a\n  a = 2\n g()\n return a",
        "def f():\n b = 1\n def g():\n  nonlocal b\n  b = 2\n g()\n return b"),
    "annotations": ("def f(x: int, *a: str) -> int:\n y: list[int] = []\n return y", "def f(x, *a):\n y = []\n return y"),
    "annotation of a nested function": ("def f():\n def g(x: T): return x\n return g", "def f():\n def g(x): return x\n return g"),
    "layout": ("def f(x): return (x +\n\n 1)", "def f(x):\n  return x + 1  # c"),
    "own decorators": ("@a.b(1)\n@c\ndef f(): return 1", "def f(): return 1"),
    "default expressions": ("def f(x=a + 1): return x", "def f(x=2): return x"),
    "way a number is written": ("def f(): return 1_000, 'a' 'b'", "def f(): return 1000, 'ab'"),
}  # fmt: skip

DIFFERENT = {
    "parameter name": ("def f(x): return x", "def f(y): return y"),
    "parameter kind": ("def f(x, y): return x", "def f(x, *, y): return x"),
    "a default or none": ("def f(x): return x", "def f(x=1): return x"),
    "two locals swapped": ("def f(x):\n a = 1\n b = 2\n return a - b", "def f(x):\n a = 1\n b = 2\n return b - a"),
    "local or global": ("def f():\n a = 1\n return a", "def f():\n b = 1\n return a"),
    "attribute": ("def f(x): return x.a", "def f(x): return x.b"),
    "global": ("def f(): return a", "def f(): return b"),
    "global statement": ("def f():\n global a\n a = 1", "def f():\n a = 1"),
    "type of a constant": ("def f(): return 1", "def f(): return 1.0"),
    "bytes or text": ("def f(): return 'a'", "def f(): return b'a'"),
    "negative zero": ("def f(): return 0.0", "def f(): return -0.0"),
    "def or async def": ("def f(): return 1", "async def f(): return 1"),
    "generator or list": ("def f(x): return [a for a in x]", "def f(x): return (a for a in x)"),
    "format conversion": ("def f(x): return f'{x!r}'", "def f(x): return f'{x!s}'"),
    "self-describing format": ("def f(x):\n a = x\n return f'{a=}'", "def f(x):\n b = x\n return f'{b=}'"),
    "name shown by locals()": ("def f(x):\n a = x\n return locals()", "def f(x):\n b = x\n return locals()"),
    "name in a formula": ("def f(x):\n a = x\n return ols('y ~ a')", "def f(x):\n b = x\n return ols('y ~ a')"),
    "name of a class made inside": ("def f():\n class A: pass\n return A", "def f():\n class B: pass\n return B"),
    "field annotation of a class made inside": ("def f():\n class A:\n  x: int\n return A", "def f():\n class A:\n  x: str\n return A"),
    "decorator of a nested function": ("def f():\n @a\n def g(): pass\n return g", "def f():\n @b\n def g(): pass\n return g"),
    "default of a nested function": ("def f():\n def g(x=1): return x\n return g", "def f():\n def g(x=2): return x\n return g"),
    "comprehension reads the outer name": ("def f(x, y): return [y for x in x]", "def f(x, y): return [x for x in x]"),
    "class scope": ("def f(x):\n class A:\n  y = x\n  def g(self): return y\n return A", "def f(x):\n y = x\n class A:\n  def g(self): return y\n return A"),
    "imported module": ("def f():\n import a as m\n return m", "def f():\n import b as m\n return m"),
    "order of statements": ("def f():\n a()\n b()", "def f():\n b()\n a()"),
    "nesting of blocks": ("def f(x):\n if x:\n  a()\n b()", "def f(x):\n if x:\n  a()\n  b()"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_what_cannot_change_a_result_is_dropped(name: str) -> None:
    """Both texts have one normal form."""
    one, two = SAME[name]

    assert form(one).text == form(two).text


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_can_change_a_result_is_kept(name: str) -> None:
    """The texts have different normal forms."""
    one, two = DIFFERENT[name]

    assert form(one).text != form(two).text


def test_free_variables_are_numbered() -> None:
    """The name that a factory gives to a value does not matter; which value is meant does."""
    one = form("def f(x): return x * a - b", ("a", "b"))
    two = form("def f(x): return x * p - q", ("p", "q"))

    assert one.text == two.text
    assert (one.free, two.free) == (("a", "b"), ("p", "q"))


def test_names_that_only_annotations_mention_are_not_listed() -> None:
    """What the normal form drops needs no value either."""
    assert form("def f(x: A) -> B:\n y: C = d\n def g(z: E): return z\n return y, g").names == {"d"}


def test_statements_of_a_module_keep_their_names() -> None:
    """Module-level names can be seen from outside, so they are not renamed; comprehension variables are."""
    texts = [
        normalize_statements(ast.parse(text).body).text
        for text in ("A = [x for x in B]", "A = [y for y in B]", "C = [x for x in B]")
    ]

    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("name", [name for name in SAME if name not in ("own decorators", "default expressions")])
def test_every_normal_form_is_of_code_that_compiles(name: str) -> None:
    """The pairs above are valid Python, so the table tests what it says."""
    for text in SAME[name]:
        compile(text, "pair", "exec")


def test_bytecode_form_ignores_where_code_is() -> None:
    """File, line, own name and docstring are not in it; names and constants are."""
    one, two, three = (
        next(const for const in compile(text, name, "exec").co_consts if hasattr(const, "co_code"))
        for text, name in [
            ("def f(a): 'x'; return a + K", "1"),
            ("\n\ndef g(a): 'y'; return a + K", "2"),
            ("def f(a): return a + J", "3"),
        ]
    )

    assert normalize_code(one).text == normalize_code(two).text != normalize_code(three).text


def test_the_bytecode_form_of_a_class_statement_leaves_out_what_the_compiler_notes() -> None:
    """Its line and the attributes its methods set (Python 3.13), which are in the order of the hash seed."""
    text = "def f():\n class A:\n  def __init__(self): self.b = self.a = self.c = 1\n return A"
    one, two = (compile(prefix + text, "f.py", "exec").co_consts[0] for prefix in ("", "# moved\n"))
    three = compile(text.replace("= 1", "= 2"), "f.py", "exec").co_consts[0]

    assert normalize_code(one).text == normalize_code(two).text != normalize_code(three).text
    assert "'c'" not in normalize_code(one).text


def test_instructions_have_resolved_arguments() -> None:
    """Long argument prefixes and caches are out of the way."""
    names = "; ".join(f"n{number}" for number in range(300))
    code = compile(names, "many", "exec")

    assert [step.value for step in instructions(code) if step.opname == "LOAD_NAME"] == [f"n{n}" for n in range(300)]


def test_references_follow_chains_and_aliases() -> None:
    """A chain is a name with the attributes read from it at once; locals that hold one pass it on."""
    text = (
        "def f(x):\n import a.b.c as d, p.q\n from .m import z\n u = util\n v = u.sub\n"
        " return d.one(), p.q.two(), z.three, v.four, getattr(u, 'five'), [u.six for _ in x]"
    )
    code = next(const for const in compile(text, "f", "exec").co_consts if hasattr(const, "co_code"))
    labels = {reference.label for reference in find_references(code)}

    assert {
        "import a.b.c.one",
        "import p.q.two",
        "import .m.z.three",
        "util.sub.four",
        "util.five",
        "util.six",
    } <= labels
    assert not any(reference.label == "util" and not reference.stored for reference in find_references(code))
