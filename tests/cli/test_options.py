"""Options made from signatures, with pydantic imported: the parser checks what it read once more when it is there."""

from collections.abc import Callable
from pathlib import Path

import pydantic  # noqa: F401
import pytest

Write = Callable[[str, str], Path]

HEAD = """
import enum
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional
import flowlib as fl

class Kind(enum.Enum):
    DEEP_NET = "d"
    TREE = "t"

Rate = NewType("Rate", float)

@fl.task
def show(text: str) -> str:
    return text
"""


def flow_with(parameters: str, head: str = HEAD) -> str:
    """Return a file whose pipeline has these parameters and returns what it got."""
    return f"{head}\ndef pipeline({parameters}):\n    return show(repr(locals()))\n"


@pytest.mark.parametrize(
    ("parameters", "words", "got"),
    [
        ("n: int", ["--n", "3"], 3),
        ("n: int = 5", [], 5),
        ("n: int", ["--n=-3"], -3),
        ("n: int", ["--n", "-3"], -3),
        ("x: float", ["--x", "1e-3"], 0.001),
        ("text: str", ["--text", "a b"], "a b"),
        ("depth_max: int", ["--depth-max", "3"], 3),
        ("depth_max: int", ["--depth_max", "3"], 3),
        ("depth_max: int", ["--depth_max=3"], 3),
        ("C: float", ["--C", "0.5"], 0.5),
        ("fast: bool = False", ["--fast"], True),
        ("fast: bool = True", ["--no-fast"], False),
        ("very_fast: bool = True", ["--no-very_fast"], False),
        ("mode: Literal['a', 'b'] = 'a'", ["--mode", "b"], "b"),
        ("n: int | None = None", ["--n", "3"], 3),
        ("n: Optional[int] = None", [], None),
        ("n: Annotated[int, fl.Ignore] = 1", ["--n", "2"], 2),
        ("rate: Rate", ["--rate", "0.5"], 0.5),
        ("xs: list[int]", ["--xs", "1,2", "--xs", "3"], [1, 2, 3]),
        ("xs: list[int]", ["--xs="], []),
        ("xs: list[str]", ["--xs", "a\\,b,c"], ["a,b", "c"]),
        ("xs: Sequence[float] = ()", ["--xs", "1,2.5"], [1.0, 2.5]),
        ("xs: tuple[int, ...] = ()", ["--xs", "1,2"], (1, 2)),
        ("size: tuple[int, str] = (1, 'a')", ["--size", "3,b"], (3, "b")),
        ("xs: set[int] | None = None", ["--xs", "1,1"], {1}),
        ("xs=[1.5]", ["--xs", "2"], [2.0]),
        ("n=3", ["--n", "4"], 4),
        ("text", ["--text", "5"], "5"),
        ("anything: Any = None", ["--anything", "5"], "5"),
        ("n: 'int'", ["--n", "3"], 3),
        ("table: 'NoSuchName' = 3", ["--table", "4"], 4),
        ("n: int, /", ["--n", "3"], 3),
        ("workers: int = 1", ["--", "--workers", "7"], 7),
        ("json: str = ''", ["--", "--json", "x"], "x"),
    ],
)
def test_words_become_arguments_of_the_annotated_type(
    command, write: Write, parameters: str, words: list[str], got: object
) -> None:
    """Types come from annotations, else from defaults; a default that is not given stays the function's own."""
    done = command("run", write("typed.py", flow_with(parameters)), "--cache", "off", "--no-progress", *words)
    name = parameters.partition(":")[0].partition("=")[0].strip(" ,/")

    assert done.err == ""
    assert eval(done.out) == {name: got}


@pytest.mark.parametrize(
    ("parameters", "words", "got"),
    [
        ("path: Path", ["--path", "a/b"], "{'path': PosixPath('a/b')}"),
        ("kind: Kind = Kind.TREE", ["--kind", "deep-net"], "{'kind': <Kind.DEEP_NET: 'd'>}"),
        ("kind: Kind = Kind.TREE", ["--kind", "DEEP_NET"], "{'kind': <Kind.DEEP_NET: 'd'>}"),
        ("source: fl.File", ["--source", "a.csv"], "{'source': File('a.csv')}"),
        ("source: fl.File | None = None", ["--source", "a.csv"], "{'source': File('a.csv')}"),
        ("sources: list[fl.File]", ["--sources", "a,b"], "{'sources': [File('a'), File('b')]}"),
    ],
)
def test_words_become_paths_files_and_members(
    command, write: Write, parameters: str, words: list[str], got: str
) -> None:
    """Paths, files and enumerations arrive as what they are annotated as."""
    done = command("run", write("typed.py", flow_with(parameters)), "--cache", "off", *words)

    assert done.out.strip().endswith(got)


@pytest.mark.parametrize(
    ("parameters", "words", "said"),
    [
        ("n: int", ["--n", "many"], ["--n", "many", "int"]),
        ("xs: list[int]", ["--xs", "1,many"], ["--xs", "many", "int"]),
        ("size: tuple[int, int]", ["--size", "3"], ["--size", "needs 2 values with commas between them, not 1"]),
        ("mode: Literal['a', 'b']", ["--mode", "c"], ["--mode", '"c"']),
        ("kind: Kind", ["--kind", "tre"], ["--kind", '"tre"']),
        ("n: int", [], ["--n", "requires an argument"]),
        ("n: int", ["--n"], ["--n", "requires an argument"]),
        ("n: int", ["--n", "1", "--n", "2"], ["--n", "multiple times"]),
        ("n: int = 1", ["--m", "2"], ["There is no option --m."]),
        ("n: int = 1", ["--", "--workers", "2"], ["There is no option --workers."]),
        ("data: dict", [], ["Parameter 'data' of 'pipeline' cannot be given on a command line."]),
    ],
)
def test_words_that_do_not_fit_are_explained(
    command, write: Write, parameters: str, words: list[str], said: list[str]
) -> None:
    """The option and the value are named; the exit code is that of wrong use."""
    done = command("run", write("typed.py", flow_with(parameters)), *words)

    assert done.code == 2
    assert all(word in done.err for word in said)


def test_parameter_that_cannot_be_written_keeps_its_default(command, write: Write) -> None:
    """A default of a rich type does not stop the other parameters from being options."""
    path = write("typed.py", flow_with("table: dict = {}, n: int = 1"))
    done = command("run", path, "--n", "2", "--cache", "off")

    assert eval(done.out) == {"table": {}, "n": 2}
    assert "--table" not in command("run", path, "--help").out


def test_deferred_annotations_work(command, write: Write) -> None:
    """`from __future__ import annotations` changes nothing."""
    path = write(
        "typed.py", flow_with("xs: list[int], *, lr: float = 0.1", "from __future__ import annotations\n" + HEAD)
    )

    assert eval(command("run", path, "--xs", "1", "--cache", "off").out) == {"xs": [1], "lr": 0.1}


def test_task_has_the_options_of_its_function(command, write: Write) -> None:
    """A single task is run with its own parameters."""
    path = write("typed.py", HEAD + "\n@fl.task\ndef scale(x: float, *, by: int = 2) -> float:\n    return x * by\n")

    assert command("run", f"{path}:scale", "--x", "1.5", "--by", "4").out == "6.0\n"


def test_node_has_no_options(command, write: Write) -> None:
    """Words for a node that is made already are refused."""
    path = write("typed.py", HEAD + "\nmade = show('x')\n")

    assert command("run", f"{path}:made", "--text", "y").code == 2


def test_help_shows_types_defaults_and_docstring(command, write: Write) -> None:
    """`--help` is made of the signature and the docstring."""
    text = flow_with(
        "source: Path = Path('in') / 'a.csv', kind: Kind = Kind.DEEP_NET, xs: list[int] = [1, 2], workers: int = 1"
    )
    doc = '    """Study something.\n\n    Args:\n        source: Where it is read from.\n    """\n'
    done = command("plan", write("typed.py", text.replace("    return show", doc + "    return show")), "--help")

    assert "Study something." in done.out
    assert "--source " in done.out
    assert "Where it is read from." in done.out
    assert "[default: in/a.csv]" in done.out
    assert "[default: deep-net]" in done.out
    assert "[default: 1,2]" in done.out
    assert "given after --: --workers" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
