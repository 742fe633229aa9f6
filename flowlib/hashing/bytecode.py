"""Read code objects: decode instructions, and write the form that stands in for source when there is none.

The form resolves names and constants, so tables and their order do not matter; it leaves out positions, the file, the
docstring, the code's own name, the names of locals, and what the compiler notes of a class statement (its line, the
attributes its methods set). Constant sets are sorted by their text, because their own order follows the hash seed.

Invariant: two code objects with the same form behave alike, given equal values for the names they refer to. The form
depends on the minor version of Python, which its head states.
"""

import dis
import inspect
import sys
from collections.abc import Iterator
from types import CodeType
from typing import NamedTuple

import attrs

_SIGNIFICANT_FLAGS = (
    inspect.CO_VARARGS
    | inspect.CO_VARKEYWORDS
    | inspect.CO_GENERATOR
    | inspect.CO_COROUTINE
    | inspect.CO_ITERABLE_COROUTINE
    | inspect.CO_ASYNC_GENERATOR
)
# What a class statement says of itself; the last two since Python 3.13.
_NOTES = frozenset({"__qualname__", "__firstlineno__", "__static_attributes__"})
# Low bits of the argument of these instructions are flags; the index of the name sits above them.
_NAME_SHIFT = {"LOAD_GLOBAL": 1, "LOAD_ATTR": 1 if sys.version_info >= (3, 12) else 0, "LOAD_SUPER_ATTR": 2}


def _kind_by_opcode() -> tuple[tuple[str, str, int], ...]:
    """Return (name of instruction, table its argument indexes, shift) for each opcode."""
    tables = {"name": dis.hasname, "local": dis.haslocal, "free": dis.hasfree, "const": dis.hasconst}
    table_of = {opcode: table for table, opcodes in tables.items() for opcode in opcodes}
    rows = []
    for opcode, opname in enumerate(dis.opname):
        table = table_of.get(opcode, "")
        if opname == "KW_NAMES":
            table = "const"
        if table == "local" and dis.opname[opcode].count("_FAST") == 2 and opname != "LOAD_FAST_AND_CLEAR":
            table = "pair"
        rows.append((opname, table, _NAME_SHIFT.get(opname, 0)))
    return tuple(rows)


_KIND = _kind_by_opcode()
_CACHE = dis.opmap["CACHE"]
_EXTENDED = dis.opmap["EXTENDED_ARG"]


class Instruction(NamedTuple):
    """One instruction. `value`: a name, a constant, a pair of local names, or the bare argument, as `table` says.

    A plain tuple, because millions are made: an attrs class would double the time of decoding.
    """

    opname: str
    table: str
    value: object


def instructions(code: CodeType) -> Iterator[Instruction]:
    """Yield the instructions of `code` itself, arguments resolved. O(length); several times faster than `dis`."""
    raw = code.co_code
    names, consts = code.co_names, code.co_consts
    cells = tuple(name for name in code.co_cellvars if name not in code.co_varnames)
    places = code.co_varnames + cells + code.co_freevars
    high = 0
    for offset in range(0, len(raw), 2):
        opcode = raw[offset]
        if opcode == _CACHE:
            continue
        argument = raw[offset + 1] | high
        if opcode == _EXTENDED:
            high = argument << 8
            continue
        high = 0
        opname, table, shift = _KIND[opcode]
        value: object = argument
        if table == "name":
            value = names[argument >> shift]
        elif table == "const":
            value = consts[argument]
        elif table in ("local", "free"):
            value = places[argument]
        elif table == "pair":
            value = (places[argument >> 4], places[argument & 15])
        yield Instruction(opname, table, value)


@attrs.frozen(kw_only=True)
class CodeForm:
    """The normal form of a code object. `free`: its free variables, numbered as in the text."""

    text: str
    free: tuple[str, ...]


def normalize_code(code: CodeType) -> CodeForm:
    r"""Return the form of `code` with the code nested in it. O(length).

    >>> one, two = compile("lambda x: [y for y in x]", "a", "eval"), compile("\nlambda x: [z for z in x]", "b", "eval")
    >>> normalize_code(one).text == normalize_code(two).text
    True
    """
    numbers: dict[str, int] = {}
    parameters = _parameters(code)
    tokens = [
        f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}",
        f"{code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount} {code.co_flags & _SIGNIFICANT_FLAGS}",
        ",".join(name for name in parameters if not name.startswith(".")),
        code.co_exceptiontable.hex(),
    ]

    def spell(name: object) -> str:
        if isinstance(name, tuple):
            return " ".join(map(spell, name))
        assert isinstance(name, str)
        if name in parameters or name == "__class__":
            return f"P{name}"
        return f"{'F' if name in code.co_freevars else 'L'}{numbers.setdefault(name, len(numbers))}"

    steps = list(instructions(code))
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if step.table in ("local", "free", "pair"):
            tokens.append(f"{step.opname} {spell(step.value)}")
        elif step.table == "const":
            noted = following is not None and following.opname == "STORE_NAME" and following.value in _NOTES
            tokens.append(f"{step.opname} {'-' if noted else _constant(step.value)}")
        else:
            tokens.append(f"{step.opname} {step.value}")
    tokens.append(" ".join(map(spell, code.co_freevars)))  # cells are handed over in this order
    free = sorted((name for name in numbers if name in code.co_freevars), key=numbers.__getitem__)
    return CodeForm(text="\n".join(tokens), free=tuple(free))


def _parameters(code: CodeType) -> tuple[str, ...]:
    stars = bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + stars]


def _constant(value: object) -> str:
    if isinstance(value, CodeType):
        return f"code({normalize_code(value).text})"
    if isinstance(value, tuple):
        return f"({','.join(map(_constant, value))})"
    if isinstance(value, frozenset):
        return f"{{{','.join(sorted(map(_constant, value)))}}}"
    return f"{type(value).__name__} {hex(value) if type(value) is int else repr(value)}"
