"""A seeded generator of small Python packages and of edits to them, for the stale-result oracle.

A `Package` is a tree of `Item`s in a few modules. Each item is a piece of code that takes part in the value of the
entry function: a constant, a helper, a class, a closure, a decorator ... Its *knobs* are numbers that change the value;
its *style* is everything that must not matter. An item refers to items of lower modules in one of several import
styles. `Package.render` writes the modules; `EDITS` change the tree, each said to be meaning-changing or not.

Nothing here knows how versions are made: the oracle compares values only.
"""

import pickle
import random
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

N_MODULES = 4
"""Module 0 is the entry; item i of module m may use items of modules > m only, so imports and calls end."""

IMPORT_STYLES = (
    "from", "alias", "module", "module alias", "star", "in body", "in body module", "re-export", "getattr", "local alias",
)  # fmt: skip
STATIC_STYLES = ("from", "alias", "module", "module alias", "star", "re-export")  # usable outside function bodies


@dataclass
class Use:
    """One item's use of another, in one import style."""

    target: str
    style: str


@dataclass
class Style:
    """What a reader sees and a result must not."""

    comment: int = 0
    doc: int = 0
    local: int = 0
    annotated: bool = False
    broken_lines: bool = False
    blank: int = 0


@dataclass
class Item:
    """One piece of code."""

    kind: str
    name: str
    module: int
    knobs: list[int]
    uses: list[Use] = field(default_factory=list)
    style: Style = field(default_factory=Style)
    operator: str = "+"
    statements: int = 0


@dataclass
class Package:
    """The whole program."""

    rng: random.Random
    items: dict[str, Item] = field(default_factory=dict)
    orders: dict[int, int] = field(default_factory=dict)
    entry: list[Use] = field(default_factory=list)
    patches: dict[str, int] = field(default_factory=dict)
    data: int = 1
    spares: int = 0
    module_names: dict[int, str] = field(default_factory=dict)

    def snapshot(self) -> bytes:
        """Return the state, for `restore`."""
        return pickle.dumps({name: value for name, value in vars(self).items() if name != "rng"})

    def restore(self, state: bytes) -> None:
        """Go back to a state."""
        vars(self).update(pickle.loads(state))

    def of_module(self, module: int) -> list[Item]:
        """Return the items of a module, in an order that definitions allow and `orders` shuffles."""
        items = [item for item in self.items.values() if item.module == module]
        shuffle = random.Random(self.orders.get(module, 0))
        shuffle.shuffle(items)
        return sorted(items, key=lambda item: KINDS[item.kind].late)

    def below(self, module: int, *kinds: str) -> list[Item]:
        """Return the items that an item of `module` may use."""
        return [item for item in self.items.values() if item.module > module and (not kinds or item.kind in kinds)]

    def reached(self) -> set[str]:
        """Return the names of the items that the entry function uses, directly or not."""
        seen: set[str] = set()
        stack = [use.target for use in self.entry]
        while stack:
            name = stack.pop()
            if name in seen:
                continue
            seen.add(name)
            stack.extend(use.target for use in self.items[name].uses)
            if self.items[name].kind == "whole module":  # passes the module around, so all of it counts
                module = self.items[self.items[name].uses[0].target].module
                stack.extend(item.name for item in self.items.values() if item.module == module)
        return seen

    def module_name(self, module: int) -> str:
        """Return the current name of a module's file."""
        return self.module_names.get(module, f"mod{module}")

    def render(self) -> dict[str, str]:
        """Write every module: file name -> source. The entry function is `entry(x, data)` in `main.py`."""
        files = {"__init__.py": ""}
        for module in range(1, N_MODULES):
            writer = Writer(self, module)
            bodies = [writer.item(item) for item in self.of_module(module)]
            files[f"{self.module_name(module)}.py"] = writer.source(bodies)
        exported = [item for item in self.items.values() if item.module > 0]
        files["api.py"] = "".join(f"from .{self.module_name(item.module)} import {item.name}\n" for item in exported)
        files["main.py"] = self._main()
        return files

    def _main(self) -> str:
        writer = Writer(self, 0)
        bodies = [writer.item(item) for item in self.of_module(0)]
        terms = [writer.use(use, "x") for use in self.entry]
        preludes = [line for term in terms for line in term.prelude]
        lines = [
            "def entry(x, data):",
            *(f"    {line}" for line in preludes),
            "    numbers = [int(line) for line in data.path.read_text().splitlines()]",
            f"    return (sum(numbers) + x, {', '.join(term.text for term in terms)},)",
        ]
        patches = [
            f"from . import {self.module_name(self.items[name].module)} as patched_{name}\n"
            f"patched_{name}.{name} = lambda x: (x + {knob}) % 9973\n"
            for name, knob in self.patches.items()
        ]
        return writer.source([*bodies, "\n".join(lines) + "\n", *patches])


@dataclass
class Term:
    """How a use is written: an expression, and lines to put before it in the same body."""

    text: str
    prelude: list[str] = field(default_factory=list)


class Writer:
    """Writes one module, collecting the imports its items ask for."""

    def __init__(self, package: Package, module: int) -> None:
        self.package = package
        self.module = module
        self.imports: set[str] = set()

    def source(self, bodies: list[str]) -> str:
        """Return the module's text."""
        head = "import asyncio, collections, dataclasses, enum, functools, typing\n" + "".join(sorted(self.imports))
        spare = "".join(f"\ndef spare_{n}(x):\n    return x + {n}\n" for n in range(self.package.spares))
        return head + "\n" + "\n\n".join(bodies) + spare

    def item(self, item: Item) -> str:
        """Return the text of one item."""
        text = KINDS[item.kind].write(item, self)
        comment = f"# note {item.style.comment}\n" if item.style.comment else ""
        return "\n" * item.style.blank + comment + text

    def reference(self, use: Use, *, static: bool = False) -> tuple[str, list[str]]:
        """Return (expression for the target, lines needed before it in the body)."""
        target = self.package.items[use.target]
        if target.module == self.module:
            return target.name, []
        module = self.package.module_name(target.module)
        name = target.name
        style = use.style if not static or use.style in STATIC_STYLES else "from"
        if style == "from":
            self.imports.add(f"from .{module} import {name}\n")
            return name, []
        if style == "alias":
            self.imports.add(f"from .{module} import {name} as other_{name}\n")
            return f"other_{name}", []
        if style == "star":
            self.imports.add(f"from .{module} import *\n")
            return name, []
        if style == "re-export":
            self.imports.add("from . import api\n" if self.module == 0 else f"from .{module} import {name}\n")
            return (f"api.{name}" if self.module == 0 else name), []
        if style == "in body":
            return f"inner_{name}", [f"from .{module} import {name} as inner_{name}"]
        if style == "in body module":
            inner = f"inner_{target.module}"
            return f"{inner}.{name}", [f"from . import {module} as {inner}"]
        if style == "module alias":
            self.imports.add(f"from . import {module} as short_{target.module}\n")
            return f"short_{target.module}.{name}", []
        self.imports.add(f"from . import {module}\n")
        if style == "getattr":
            return f"getattr({module}, '{name}')", []
        if style == "local alias":
            return f"held_{target.module}.{name}", [f"held_{target.module} = {module}"]
        return f"{module}.{name}", []

    def use(self, use: Use, argument: str) -> Term:
        """Return the number that a use of an item gives for `argument`."""
        reference, prelude = self.reference(use)
        call = KINDS[self.package.items[use.target].kind].call
        return Term(call.format(ref=reference, x=argument), prelude)

    def uses(self, item: Item, argument: str = "x") -> Term:
        """Return the sum of an item's uses, as ` + a + b`, and their preludes."""
        terms = [self.use(use, argument) for use in item.uses]
        return Term("".join(f" + {term.text}" for term in terms), [line for term in terms for line in term.prelude])


def function(item: Item, writer: Writer, name: str, lines: list[str], result: str, *, more: str = "") -> str:
    """Write a function of x: docstring, local, uses, extra statements, result, in the item's style."""
    style = item.style
    local = f"value{style.local}" if style.local else "value"
    uses = writer.uses(item)
    annotation, returns = (": int", " -> int") if style.annotated else ("", "")
    body = [f'"""Say {style.doc}."""'] if style.doc else []
    body += uses.prelude
    body += lines
    body.append(f"{local}{': int' if style.annotated else ''} = {result}{uses.text}")
    body += [f"{local} = {local} * {n + 2}" for n in range(item.statements)]
    total = f"({local} {item.operator} {item.knobs[0]}) % 9973"
    body.append(f"return (\n    {total}\n)" if style.broken_lines else f"return {total}")
    if style.comment:
        body[-1] += "  # the result"
    text = "\n".join(textwrap.indent(line, "    ") for line in body)
    return f"def {name}(x{annotation}{more}){returns}:\n{text}\n"


@dataclass(frozen=True)
class Kind:
    """How a kind of item is written (`write`) and used (`call`, with {ref} and {x})."""

    write: Callable[[Item, Writer], str]
    call: str
    n_knobs: int = 1
    n_uses: int = 0
    late: int = 1
    targets: tuple[str, ...] = ()
    """Kinds that the uses may target; () for all."""


def _constant(item: Item, writer: Writer) -> str:
    return f"{item.name}{': int' if item.style.annotated else ''} = {item.knobs[0]}\n"


def _table(item: Item, writer: Writer) -> str:
    first, second = item.knobs
    pairs = [f"'a': {first}", f"'b': [{second}, {{'c': (1, 2)}}]"]
    if item.style.broken_lines:
        pairs.reverse()
    return f"{item.name} = {{{', '.join(pairs)}}}\n"


def _helper(item: Item, writer: Writer) -> str:
    return function(item, writer, item.name, [], "x")


def _defaults(item: Item, writer: Writer) -> str:
    more = f", scale={item.knobs[1]}, *, shift={item.knobs[2]}, bag={{'k': {item.knobs[3]}}}"
    return function(item, writer, item.name, [], "x * scale + shift + bag['k']", more=more)


def _nested(item: Item, writer: Writer) -> str:
    local = f"inner{item.style.local}"
    lines = [
        f"def {local}(y, step={item.knobs[1]}):",
        f"    return [y * step + n for n in range({item.knobs[2]} % 5)]",
        "class Local:",
        f"    rate = {item.knobs[3]}",
        "    def go(self): return self.rate",
    ]
    return function(item, writer, item.name, ["\n".join(lines)], f"sum({local}(x)) + Local().go()")


def _syntax(item: Item, writer: Writer) -> str:
    local = f"caught{item.style.local}"
    lines = [
        "try:",
        f"    raise ValueError({item.knobs[1]})",
        f"except ValueError as {local}:",
        f"    base = {local}.args[0]",
        "match x:",
        f"    case int() as got if (twice := got * {item.knobs[2]}) > 0:",
        "        base += twice",
        "    case _:",
        "        pass",
        "while base > 100:",
        "    base //= 2",
        "else:",
        "    base += 1",
    ]
    return function(item, writer, item.name, ["\n".join(lines)], "base")


def _recursive(item: Item, writer: Writer) -> str:
    name = item.name
    even = f"def {name}_even(n):\n    return {item.knobs[1]} if n <= 0 else {name}_odd(n - 1) + 1\n"
    odd = f"def {name}_odd(n):\n    return {item.knobs[2]} if n <= 0 else {name}_even(n - 1) + 2\n"
    pair = odd + even if item.style.broken_lines else even + odd
    return pair + function(item, writer, name, [], f"{name}_even(x % 7)")


def _async(item: Item, writer: Writer) -> str:
    lines = [
        f"step = {item.name}_later(x)",
        "try:",
        "    step.send(None)",
        "except StopIteration as stop:",
        "    got = stop.value",
    ]
    later = f"async def {item.name}_later(x):\n    return x + {item.knobs[1]}\n"
    return later + function(item, writer, item.name, ["\n".join(lines)], "got")


def _generator(item: Item, writer: Writer) -> str:
    items = f"def {item.name}_items(x):\n    for n in range(3):\n        yield n * x + {item.knobs[1]}\n"
    return items + function(item, writer, item.name, [], f"sum({item.name}_items(x))")


def _lambda(item: Item, writer: Writer) -> str:
    uses = writer_static(item, writer, "x")
    space = "\n    " if item.style.broken_lines else ""
    return f"{item.name}, {item.name}_b = lambda x: ({space}x + {item.knobs[0]}{uses}) % 9973, lambda x: 2\n"


def _lambdas(item: Item, writer: Writer) -> str:
    first, second = item.knobs
    return f"{item.name} = [lambda x: x + {first}, lambda x: x * {second}, lambda x: (lambda y: y + {first})(x)]\n"


def writer_static(item: Item, writer: Writer, argument: str) -> str:
    """Return an item's uses where no body can hold a prelude."""
    texts = []
    for use in item.uses:
        reference, _ = writer.reference(use, static=True)
        texts.append(" + " + KINDS[writer.package.items[use.target].kind].call.format(ref=reference, x=argument))
    return "".join(texts)


def _closure(item: Item, writer: Writer) -> str:
    local = f"times{item.style.local}"
    factory = (
        f"def {item.name}_make(k, more):\n    {local} = k + 1\n"
        f"    def inner(x):\n        return (x * {local} + more['m'] + {item.knobs[0]}) % 9973\n"
        f"    return inner\n"
    )
    return factory + f"{item.name} = {item.name}_make({item.knobs[1]}, {{'m': {item.knobs[2]}}})\n"


def _decorated(item: Item, writer: Writer) -> str:
    wraps = "    @functools.wraps(fn)\n" if int(item.name[2:]) % 2 else ""
    decorator = (
        f"def {item.name}_deco(fn):\n{wraps}"
        f"    def wrapper(x):\n        return (fn(x) + {item.knobs[1]}) % 9973\n    return wrapper\n"
    )
    return decorator + f"@{item.name}_deco\n" + function(item, writer, item.name, [], "x")


def _decorated_with_argument(item: Item, writer: Writer) -> str:
    decorator = (
        f"def {item.name}_deco(times):\n    def decorate(fn):\n"
        f"        return lambda x: fn(x) * times + {item.knobs[1]}\n    return decorate\n"
    )
    return decorator + f"@{item.name}_deco({item.knobs[2]})\n" + function(item, writer, item.name, [], "x")


def _decorator_class(item: Item, writer: Writer) -> str:
    decorator = (
        f"class {item.name}_Deco:\n    def __init__(self, fn):\n        functools.update_wrapper(self, fn)\n"
        f"        self.fn = fn\n        self.extra = {item.knobs[1]}\n"
        f"    def __call__(self, x):\n        return self.fn(x) + self.extra + {item.knobs[2]}\n"
    )
    return decorator + f"@{item.name}_Deco\n" + function(item, writer, item.name, [], "x")


def _memoized(item: Item, writer: Writer) -> str:
    return "@functools.lru_cache(None)\n" + function(item, writer, item.name, [], "x")


def _dispatched(item: Item, writer: Writer) -> str:
    first = "@functools.singledispatch\n" + function(item, writer, item.name, [], "x")
    return first + f"@{item.name}.register(bool)\ndef _(x):\n    return x + {item.knobs[1]}\n"


def _partial(item: Item, writer: Writer) -> str:
    inner = function(item, writer, f"{item.name}_full", [], "x + by + other", more=", by, other=1")
    return inner + f"{item.name} = functools.partial({item.name}_full, by={item.knobs[1]}, other={item.knobs[2]})\n"


def _table_of_functions(item: Item, writer: Writer) -> str:
    inner = function(item, writer, f"{item.name}_one", [], "x")
    entries = [f"'one': {item.name}_one", f"'two': lambda x: x + {item.knobs[1]}", f"'k': {item.knobs[2]}"]
    if item.style.broken_lines:
        entries.reverse()
    return inner + f"{item.name} = {{{', '.join(entries)}}}\n"


def _list_of_functions(item: Item, writer: Writer) -> str:
    make = f"def {item.name}_make(k):\n    return lambda x: x + k\n"
    return make + f"{item.name} = [{item.name}_make({item.knobs[0]}), [{item.name}_make({item.knobs[1]})]]\n"


def _class(item: Item, writer: Writer) -> str:
    base, meta = f"{item.name}_Base", f"{item.name}_Meta"
    value = function(item, writer, "value", [], "self.other(x) + type(self).RATE")
    value = textwrap.indent(value.replace("def value(x", "def value(self, x"), "    ")
    members = [
        f"    RATE = {item.knobs[1]}\n",
        f"    def other(self, x):\n        return super().scale(x) + self.prop + {item.knobs[2]}\n",
        f"    @property\n    def prop(self):\n        return {item.knobs[3]} + self.half(2)\n",
        f"    @staticmethod\n    def half(x):\n        return x + {item.knobs[4]}\n",
        f"    @classmethod\n    def build(cls):\n        made = cls()\n        made.seed = {item.knobs[5]}\n        return made\n",
        value,
    ]
    if item.style.broken_lines:
        members.reverse()
    return (
        f"class {meta}(type):\n    def tag(cls):\n        return {item.knobs[6]}\n"
        f"class {base}(metaclass={meta}):\n    def scale(self, x):\n        return x * {item.knobs[7]} + type(self).tag()\n"
        f"class {item.name}({base}):\n" + "".join(members)
    )


def _subclass(item: Item, writer: Writer) -> str:
    base, _ = writer.reference(item.uses[0], static=True)
    return (
        f"class {item.name}({base}):\n    def value(self, x):\n"
        f"        return (super().value(x) + {item.knobs[0]}) % 9973\n"
    )


def _dataclass(item: Item, writer: Writer) -> str:
    return (
        f"@dataclasses.dataclass(frozen=True)\nclass {item.name}:\n"
        f"    a: int = {item.knobs[0]}\n    b: list = dataclasses.field(default_factory=lambda: [{item.knobs[1]}])\n"
        f"    def total(self, x):\n        return x + self.a * 3 + self.b[0] + {item.knobs[2]}\n"
    )


def _dataclass_order(item: Item, writer: Writer) -> str:
    fields = ["    a: int\n", "    b: int\n"]
    if item.knobs[0] % 2:
        fields.reverse()
    return f"@dataclasses.dataclass\nclass {item.name}:\n" + "".join(fields)


def _named_tuple(item: Item, writer: Writer) -> str:
    return (
        f"class {item.name}(typing.NamedTuple):\n    a: int = {item.knobs[0]}\n"
        f"    def total(self, x):\n        return x + self.a + {item.knobs[1]}\n"
    )


def _enum(item: Item, writer: Writer) -> str:
    return (
        f"class {item.name}(enum.Enum):\n    ONE = {item.knobs[0]}\n    TWO = {item.knobs[0] + item.knobs[1] + 1}\n"
        f"    def weigh(self, x):\n        return x * self.value + {item.knobs[2]}\n"
    )


def _instance(item: Item, writer: Writer) -> str:
    return (
        f"class {item.name}_Type:\n    def __init__(self, state):\n        self.state = state\n"
        f"    def __call__(self, x):\n        return self.step(x) + self.state['s']\n"
        f"    def step(self, x):\n        return x + {item.knobs[0]}\n"
        f"{item.name} = {item.name}_Type({{'s': {item.knobs[1]}}})\n"
    )


def _bound_method(item: Item, writer: Writer) -> str:
    return (
        f"class {item.name}_Type:\n    def __init__(self, by):\n        self.by = by\n"
        f"    def go(self, x):\n        return x + self.by + {item.knobs[0]}\n"
        f"{item.name} = {item.name}_Type({item.knobs[1]}).go\n"
    )


def _attribute(item: Item, writer: Writer) -> str:
    return function(item, writer, item.name, [], "x") + f"{item.name}.extra = {item.knobs[1]}\n"


def _choice(item: Item, writer: Writer) -> str:
    first, second = (writer.package.items[use.target] for use in item.uses)
    names = [writer.package.module_name(target.module) for target in (first, second)]
    return (
        f"if {item.knobs[0]} % 2:\n    from .{names[0]} import {first.name} as {item.name}\n"
        f"else:\n    from .{names[1]} import {second.name} as {item.name}\n"
    )


def _fallback(item: Item, writer: Writer) -> str:
    target = writer.package.items[item.uses[0].target]
    present = writer.package.module_name(target.module)
    first = present if item.knobs[0] % 2 else "absent"
    return (
        f"try:\n    from .{first} import {target.name} as {item.name}\n"
        f"except ImportError:\n    def {item.name}(x):\n        return x + {item.knobs[1]}\n"
    )


def _whole_module(item: Item, writer: Writer) -> str:
    target = writer.package.items[item.uses[0].target]
    module = writer.package.module_name(target.module)
    writer.imports.add(f"from . import {module}\n")
    return (
        f"def {item.name}_call(module, name, x):\n    return getattr(module, name)(x)\n"
        f"def {item.name}(x):\n    return {item.name}_call({module}, '{target.name}', x) + {item.knobs[0]}\n"
    )


def _task(item: Item, writer: Writer) -> str:
    writer.imports.add("from flowlib.graph.task import task\n")
    options = f"(version='{item.knobs[1]}')" if item.knobs[1] % 2 else ""
    noise = f"(tags=['t{item.style.comment}'])" if item.style.comment and not options else ""
    return f"@task{options or noise}\n" + function(item, writer, item.name, [], "x")


def _weak(item: Item, writer: Writer) -> str:
    return (
        f"import threading\ndef {item.name}_size():\n    return {item.knobs[1]}\n"
        f"{item.name} = {{'lock': threading.Lock(), 'size': {item.name}_size() + {item.knobs[0]}}}\n"
    )


CALLABLE = "{ref}({x})"
FUNCTIONS = ("helper", "defaults", "nested", "recursive", "decorated", "lambda", "closure")
KINDS = {
    "constant": Kind(_constant, "{ref}", late=0),
    "table": Kind(_table, "({ref}['a'] + {ref}['b'][0])", 2, late=0),
    "helper": Kind(_helper, CALLABLE, 1, 2),
    "defaults": Kind(_defaults, CALLABLE, 4, 1),
    "nested": Kind(_nested, CALLABLE, 4, 1),
    "syntax": Kind(_syntax, CALLABLE, 3, 1),
    "recursive": Kind(_recursive, CALLABLE, 3, 1),
    "async": Kind(_async, CALLABLE, 2, 1),
    "generator": Kind(_generator, CALLABLE, 2, 1),
    "lambda": Kind(_lambda, CALLABLE, 1, 1),
    "lambdas": Kind(_lambdas, "({ref}[0]({x}) + {ref}[1]({x}) + {ref}[2]({x}))", 2),
    "closure": Kind(_closure, CALLABLE, 3),
    "decorated": Kind(_decorated, CALLABLE, 2, 1),
    "decorated with argument": Kind(_decorated_with_argument, CALLABLE, 3, 1),
    "decorator class": Kind(_decorator_class, CALLABLE, 3, 1),
    "memoized": Kind(_memoized, CALLABLE, 1, 1),
    "single dispatch": Kind(_dispatched, "({ref}({x}) + {ref}(True))", 2, 1),
    "partial": Kind(_partial, CALLABLE, 3, 1),
    "table of functions": Kind(_table_of_functions, "({ref}['one']({x}) + {ref}['two']({x}) + {ref}['k'])", 3, 1),
    "list of functions": Kind(_list_of_functions, "({ref}[0]({x}) + 2 * {ref}[1][0]({x}))", 2),
    "class": Kind(_class, "({ref}.build().value({x}) + {ref}.build().seed)", 8, 1),
    "subclass": Kind(_subclass, "{ref}().value({x})", 1, 1, targets=("class",)),
    "dataclass": Kind(_dataclass, "{ref}().total({x})", 3),
    "dataclass order": Kind(_dataclass_order, "({ref}({x}, 2).a + {x})", 1),
    "named tuple": Kind(_named_tuple, "{ref}().total({x})", 2),
    "enum": Kind(_enum, "({ref}.ONE.weigh({x}) + {ref}(({ref}.TWO.value)).value)", 3),
    "instance": Kind(_instance, CALLABLE, 2),
    "bound method": Kind(_bound_method, CALLABLE, 2),
    "attribute": Kind(_attribute, "({ref}({x}) + {ref}.extra)", 2, 1),
    "choice": Kind(_choice, CALLABLE, 1, 2, targets=FUNCTIONS),
    "fallback": Kind(_fallback, CALLABLE, 2, 1, targets=FUNCTIONS),
    "whole module": Kind(_whole_module, CALLABLE, 1, 1, targets=FUNCTIONS),
    "task": Kind(_task, "{ref}.fn({x})", 2, 1),
    "weak": Kind(_weak, "{ref}['size']", 2),
}
SIMPLE = ("helper", "constant", "table", "closure", "defaults", "lambda")


def make_package(rng: random.Random) -> Package:
    """Make a package of some twenty items: a few of every module, and all that the entry uses."""
    package = Package(rng)
    for module in reversed(range(N_MODULES)):
        kinds = [*rng.sample(SIMPLE, 2), *rng.sample([*KINDS], 3)] if module else rng.sample([*KINDS], 2)
        for kind in kinds:
            add_item(package, kind, module)
    items = [*package.items.values()]
    for item in rng.sample(items, min(len(items), 13)):
        package.entry.append(Use(item.name, pick_style(rng, item.module)))
    return package


def pick_style(rng: random.Random, module: int) -> str:
    """Return a way to refer to an item of `module` from above; the entry's own module needs no import."""
    return rng.choice(IMPORT_STYLES) if module else "same"


def add_item(package: Package, kind: str, module: int) -> None:
    """Add an item of a kind, unless nothing below could serve it."""
    rng, spec = package.rng, KINDS[kind]
    candidates = package.below(max(module, 0), *spec.targets)
    if spec.n_uses and spec.targets and not candidates:
        return
    n_uses = spec.n_uses if spec.targets else rng.randint(0, min(spec.n_uses, len(candidates)))
    uses = [Use(rng.choice(candidates).name, rng.choice(IMPORT_STYLES)) for _ in range(n_uses)]
    name = f"it{len(package.items)}"
    knobs = [rng.randint(1, 9) for _ in range(spec.n_knobs)]
    package.items[name] = Item(kind, name, module, knobs, uses)


@dataclass(frozen=True)
class Edit:
    """A change of a package. `apply` returns False if the package has no place for it."""

    apply: Callable[[Package], bool]
    is_idle: bool
    """True if it must not change any value nor, but for rare cases, any version."""
    needs: str = ""
    """Kind of item that the entry has to use first, "patch" or "hidden module"; see `make_place`."""


def _reached_items(package: Package, *kinds: str) -> list[Item]:
    reached = package.reached()
    return [item for item in package.items.values() if item.name in reached and (not kinds or item.kind in kinds)]


def make_place(package: Package, edit: Edit) -> bool:
    """Let the entry use an item of the kind that an edit needs; return True if that changed the package."""
    if edit.needs == "patch":
        return not package.patches and _patch(package)
    if edit.needs == "hidden module":
        return not _hidden_modules(package) and _hide_module(package)
    if not edit.needs or _reached_items(package, edit.needs):
        return False
    present = [item for item in package.items.values() if item.kind == edit.needs]
    if not present:
        module = package.rng.randrange(N_MODULES - 1)
        targets = KINDS[edit.needs].targets
        if targets and not package.below(module, *targets):
            add_item(package, targets[0], N_MODULES - 1)
        add_item(package, edit.needs, module)
        present = [item for item in package.items.values() if item.kind == edit.needs]
    if present:
        package.entry.append(Use(present[0].name, pick_style(package.rng, present[0].module)))
    return bool(present)


def _turn_knob(kind: str, place: int) -> Callable[[Package], bool]:
    def apply(package: Package) -> bool:
        items = _reached_items(package, kind)
        if items:
            package.rng.choice(items).knobs[place] += package.rng.choice([1, 2, 5])
        return bool(items)

    return apply


def _turn_target(kind: str) -> Callable[[Package], bool]:
    def apply(package: Package) -> bool:
        items = _reached_items(package, kind)
        if items:
            package.items[package.rng.choice(items).uses[0].target].knobs[0] += 1
        return bool(items)

    return apply


BODIED = ("helper", "defaults", "nested", "syntax", "recursive", "async", "generator", "decorated", "memoized",
          "decorated with argument", "decorator class", "partial", "table of functions", "attribute", "class", "task")  # fmt: skip


def _change_operator(package: Package) -> bool:
    items = _reached_items(package, *BODIED)
    if items:
        item = package.rng.choice(items)
        item.operator = package.rng.choice([operator for operator in "+-*" if operator != item.operator])
    return bool(items)


def _add_statement(package: Package) -> bool:
    items = _reached_items(package, *BODIED)
    if items:
        package.rng.choice(items).statements += 1
    return bool(items)


def _retarget(package: Package) -> bool:
    items = [item for item in _reached_items(package) if item.uses]
    if not items:
        return False
    item = package.rng.choice(items)
    others = package.below(item.module, *KINDS[item.kind].targets)
    package.rng.choice(item.uses).target = package.rng.choice(others).name
    return True


def _change_style(package: Package) -> bool:
    uses = [(item.module, use) for item in _reached_items(package) for use in item.uses]
    if uses:
        package.rng.choice(uses)[1].style = package.rng.choice(IMPORT_STYLES)
    return bool(uses)


def _extend_entry(package: Package) -> bool:
    item = package.rng.choice([*package.items.values()])
    package.entry.append(Use(item.name, pick_style(package.rng, item.module)))
    return True


def _shorten_entry(package: Package) -> bool:
    if len(package.entry) < 6:
        return False
    package.entry.pop(package.rng.randrange(len(package.entry)))
    return True


def _patch(package: Package) -> bool:
    items = [item for item in _reached_items(package, "helper", "recursive", "syntax") if item.module]
    if items:
        package.patches[package.rng.choice(items).name] = package.rng.randint(1, 99)
    return bool(items)


def _unpatch(package: Package) -> bool:
    if package.patches:
        package.patches.popitem()
        return True
    return False


def _change_data(package: Package) -> bool:
    package.data += 1
    return True


def _restyle(change: Callable[[Style], None]) -> Callable[[Package], bool]:
    def apply(package: Package) -> bool:
        change(package.rng.choice(_reached_items(package)).style)
        return True

    return apply


def _comment(style: Style) -> None:
    style.comment += 1


def _doc(style: Style) -> None:
    style.doc += 1


def _rename_local(style: Style) -> None:
    style.local += 1


def _annotate(style: Style) -> None:
    style.annotated = not style.annotated


def _reformat(style: Style) -> None:
    style.broken_lines = not style.broken_lines


def _blank(style: Style) -> None:
    style.blank += 1


def _reorder(package: Package) -> bool:
    package.orders[package.rng.randrange(N_MODULES)] = package.rng.randrange(1000)
    return True


def _add_spare(package: Package) -> bool:
    if any(item.kind == "whole module" for item in _reached_items(package)):
        return False
    package.spares += 1
    return True


def _edit_unreached(package: Package) -> bool:
    reached = package.reached()
    items = [item for item in package.items.values() if item.name not in reached]
    if items:
        package.rng.choice(items).knobs[0] += 2  # keeps parities, so that conditional imports still succeed
    return bool(items)


def _all_uses(package: Package) -> list[tuple[Item, Use]]:
    entry = Item("", "", 0, [], package.entry)
    return [(item, use) for item in (*_reached_items(package), entry) for use in item.uses]


def _hidden_modules(package: Package) -> list[int]:
    """Return the modules whose file no body names."""
    shown = {
        package.items[use.target].module
        for item, use in _all_uses(package)
        if use.style not in STATIC_STYLES or use.style == "module" or item.kind == "whole module"
    }
    return [module for module in range(1, N_MODULES) if module not in shown]


def _hide_module(package: Package) -> bool:
    """Import from one module in ways that do not show its name in a body."""
    module = package.rng.randrange(1, N_MODULES)
    uses = [use for _, use in _all_uses(package) if package.items[use.target].module == module]
    for use in uses:
        use.style = package.rng.choice(["from", "alias", "module alias", "star"])
    return bool(uses)


def _rename_module(package: Package) -> bool:
    hidden = _hidden_modules(package)
    if hidden:
        module = package.rng.choice(hidden)
        package.module_names[module] = f"file{package.rng.randrange(1000)}_{module}"
    return bool(hidden)


EDITS = {
    **{
        f"knob {place} of {kind}": Edit(_turn_knob(kind, place), is_idle=False, needs=kind)
        for kind, spec in KINDS.items()
        for place in range(spec.n_knobs)
    },
    **{
        f"target of {kind}": Edit(_turn_target(kind), is_idle=False, needs=kind)
        for kind in ("subclass", "choice", "fallback", "whole module")
    },
    "operator": Edit(_change_operator, is_idle=False),
    "statement": Edit(_add_statement, is_idle=False),
    "retarget": Edit(_retarget, is_idle=False),
    "import style": Edit(_change_style, is_idle=False),
    "entry grows": Edit(_extend_entry, is_idle=False),
    "entry shrinks": Edit(_shorten_entry, is_idle=False),
    "patch": Edit(_patch, is_idle=False),
    "unpatch": Edit(_unpatch, is_idle=False, needs="patch"),
    "data file": Edit(_change_data, is_idle=False),
    "comment": Edit(_restyle(_comment), is_idle=True),
    "docstring": Edit(_restyle(_doc), is_idle=True),
    "local rename": Edit(_restyle(_rename_local), is_idle=True),
    "annotations": Edit(_restyle(_annotate), is_idle=True),
    "reformat": Edit(_restyle(_reformat), is_idle=True),
    "blank lines": Edit(_restyle(_blank), is_idle=True),
    "reorder": Edit(_reorder, is_idle=True),
    "unused function": Edit(_add_spare, is_idle=True),
    "unreached item": Edit(_edit_unreached, is_idle=True),
    "module rename": Edit(_rename_module, is_idle=True, needs="hidden module"),
}


def edit_names(rng: random.Random) -> Iterator[str]:
    """Yield names of edits for ever: each class comes once a round, in random order, idle ones four times."""
    names = [name for name, edit in EDITS.items() for _ in range(4 if edit.is_idle else 1)]
    while True:
        rng.shuffle(names)
        yield from names
