"""The house rules that a reader cannot see in one file: layers, homes, sizes, light import."""

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from flowlib.scheduling.states import TRANSITIONS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "flowlib"

# A layer imports only lower layers and its own package. Raising a number or adding a name here is a decision.
LAYERS = {
    "words": 0,  # ids, errors, events, config, clock, collector
    "graph": 1, "hashing": 1,
    "sweep": 2, "store": 2,
    "planning": 3, "scheduling": 3, "execution": 3, "history": 3,
    "engine": 4,
    "views": 5, "testing": 5,
    "api": 6, "cli": 6, "notebook": 6,
    "root": 7,  # __init__, __main__
}  # fmt: skip
WORDS = {"ids", "errors", "events", "config", "clock", "collector", "text"}
NARROWER = {"store": {"hashing"}, "scheduling": {"graph"}}  # the lower packages these two may see, besides words
KNOTS = {  # (importer, imported): why this one edge may close a circle
    ("graph.node", "graph.task"): "type only: a node carries the task that made it, and tasks make nodes",
}

ANYWHERE = {"attrs"}
HOMES = {  # third party -> the modules that may name it
    "xxhash": {"hashing.digest"},
    "cloudpickle": {"store.codec*", "execution.picklers"},
    "diskcache": {"store.index"},
    "distributed": {"execution.on_dask"},
    "ray": {"execution.on_ray"},
    "loguru": {"engine.observe"},
    "rich": {"views.*"},
    "cyclopts": {"cli.*"},
    "IPython": {"notebook", "views.*"},
}
RECOGNISED = {"numpy", "pandas", "polars", "pyarrow", "torch", "scipy", "pydantic", "safetensors", "matplotlib"}
FILE_HOMES = {"store.files", "hashing.file", "hashing.source", "history.log", "config", "cli.*", "execution.proctree"}
FILE_CALLS = {
    "os": {"open", "replace", "rename", "remove", "unlink", "mkdir", "makedirs", "rmdir", "link", "symlink", "chmod"},
    "io": {"open"},
}
FILE_METHODS = {"read_text", "read_bytes", "write_text", "write_bytes", "unlink", "mkdir", "rmdir", "touch"}
FILE_MODULES = {"shutil", "tempfile"}

# Ratchets: they go down, or up by an edit of this line with a reason.
LARGEST_FILE = 400
LONGEST_FUNCTION = 36
DEEPEST_NESTING = 4

PROGRAMMES = {"contracts", "end_to_end", "laws", "typing"}  # folders of tests that mirror no package

HEAVY = {
    "numpy", "pandas", "polars", "pyarrow", "torch", "scipy", "pydantic", "matplotlib",  # users' values
    "asyncio", "cloudpickle", "cyclopts", "dask", "diskcache", "loguru", "ray", "rich",  # our machinery
    "concurrent", "email", "http", "importlib.metadata", "logging", "multiprocessing", "socket", "sqlite3", "subprocess",
    "tempfile", "tomllib", "urllib.request", "zipfile",
}  # fmt: skip
TO_DESCRIBE = {"flowlib.errors", "flowlib.graph", "flowlib.ids"}  # what `flowlib.task` and calls of tasks may load
RUNNING = {"datetime", "hashlib", "json", "pathlib", "pickle", "signal", "uuid", "xxhash"}  # and what they may not


@cache
def modules() -> dict[str, ast.Module]:
    """Return the tree of every module by its name below the package, such as `store.files`; "" is the root."""
    trees = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return trees


def part_of(module: str) -> str:
    """Return the row of `LAYERS` that a module belongs to."""
    head = module.split(".", maxsplit=1)[0]
    return "words" if head in WORDS else "root" if head in ("", "__main__") else head


def imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield (dotted name, line) of every import at any depth, type-only ones included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import at line {node.lineno}"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def own_imports(name: str) -> Iterator[tuple[str, int]]:
    """Yield (module of ours, line) for every import of flowlib; "" when the root is imported."""
    for dotted, line in imports(modules()[name]):
        if dotted.split(".")[0] == "flowlib":
            inner = dotted.removeprefix("flowlib").removeprefix(".")
            yield (inner if inner in modules() else inner.rpartition(".")[0]), line


def at_home(module: str, homes: set[str]) -> bool:
    """Tell whether a module is one of `homes`; a star matches any ending."""
    return any(module == home or (home[-1] == "*" and module.startswith(home[:-1].rstrip("."))) for home in homes)


def wrong(found: Iterator[str]) -> None:
    """Fail with the list of what was found, if anything was."""
    lines = list(found)
    assert not lines, "\n" + "\n".join(lines)


def test_every_module_has_a_layer() -> None:
    """A new package or root module starts with a decision about its layer."""
    wrong(f"{name}: no layer" for name in modules() if part_of(name) not in LAYERS)


def test_the_table_holds_nothing_but_what_is_there() -> None:
    """A row, a home or an exception that nothing needs any more would let the next mistake through."""
    edges = {(name, target) for name in modules() for target, _ in own_imports(name)}
    homes = {home for found in (*HOMES.values(), FILE_HOMES) for home in found}

    wrong(f"{part}: no such part" for part in LAYERS.keys() - {part_of(name) for name in modules()})
    wrong(f"{importer} does not import {imported}" for importer, imported in KNOTS.keys() - edges)
    wrong(f"{home}: no such module" for home in homes if not any(at_home(name, {home}) for name in modules()))


def test_imports_point_down() -> None:
    """A layer imports only layers below it and its own package; siblings never meet."""

    def upward() -> Iterator[str]:
        for name in modules():
            part = part_of(name)
            for target, line in own_imports(name):
                other = part_of(target)
                allowed = NARROWER.get(part, set(LAYERS)) | {"words"}
                if other != part and (LAYERS[other] >= LAYERS[part] or other not in allowed):
                    yield f"{name}:{line} imports {target or 'the root'}"

    wrong(upward())


def test_nobody_imports_the_root_package() -> None:
    """`flowlib` itself is for users; inside, it would tie everything to everything."""
    wrong(f"{name}:{line}" for name in modules() for target, line in own_imports(name) if target == "")


def test_modules_form_no_cycle() -> None:
    """Imports inside functions and under TYPE_CHECKING count: a type-only circle is a circle for the reader."""
    needs = {name: {target for target, _ in own_imports(name) if (name, target) not in KNOTS} - {name}
             for name in modules() if name}  # fmt: skip

    graphlib.TopologicalSorter(needs).prepare()


def test_package_files_hold_only_a_docstring() -> None:
    """Importing any module runs its package's `__init__`; it must cost nothing and tie nothing."""
    packages = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]

    wrong(f"{name}: more than a docstring" for name in packages if len(modules()[name].body) != 1)
    wrong(f"{name}: no docstring" for name in packages if not ast.get_docstring(modules()[name]))


def test_third_parties_stay_at_home() -> None:
    """A dependency can be replaced by editing one file; packages of users' values are imported only when seen."""

    def strays() -> Iterator[str]:
        for name, tree in modules().items():
            top_level = {dotted for node in tree.body for dotted, _ in imports(ast.Module([node], []))
                         if isinstance(node, ast.Import | ast.ImportFrom)}  # fmt: skip
            for dotted, line in imports(tree):
                party = dotted.split(".")[0]
                if party in sys.stdlib_module_names | ANYWHERE | {"flowlib"}:
                    continue
                if party in RECOGNISED and dotted not in top_level:
                    continue
                if not at_home(name, HOMES.get(party, set())):
                    yield f"{name}:{line} imports {dotted}"

    wrong(strays())


def test_only_config_reads_the_environment() -> None:
    """Settings enter at one place, so that a run can say where each came from."""
    reads = re.compile(r"^os\.(environb?|getenv|putenv)\b")
    wrong(f"{name}:{line} imports {dotted}" for name, tree in modules().items() if name != "config"
          for dotted, line in imports(tree) if reads.search(dotted))  # fmt: skip
    wrong(f"{name}:{node.lineno}" for name, tree in modules().items() if name != "config" for node in ast.walk(tree)
          if isinstance(node, ast.Attribute) and reads.search(ast.unparse(node)))  # fmt: skip


def test_only_clock_reads_the_time() -> None:
    """Everything else is handed a clock, which tests can hold still."""
    now = re.compile(r"\b(datetime|date)\.(now|utcnow|today)$")
    wrong(f"{name}:{line} imports time" for name, tree in modules().items() if name != "clock"
          for dotted, line in imports(tree) if dotted.split(".")[0] == "time")  # fmt: skip
    wrong(f"{name}:{node.lineno}" for name, tree in modules().items() for node in ast.walk(tree)
          if isinstance(node, ast.Attribute) and now.search(ast.unparse(node)))  # fmt: skip


def touches_files(node: ast.AST) -> bool:
    """Tell whether a syntax node is a file operation."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return any(dotted.split(".")[0] in FILE_MODULES for dotted, _ in imports(ast.Module([node], [])))
    match node:
        case ast.Call(func=ast.Name(id="open")):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=verb)) if owner in FILE_CALLS:
            return verb in FILE_CALLS[owner]
        case ast.Call(func=ast.Attribute(attr=verb)):
            return verb in FILE_METHODS
    return False


def test_file_operations_stay_at_home() -> None:
    """Faults are injected in one place, so every file operation has to go through it."""
    wrong(f"{name}:{node.lineno} {ast.unparse(node)[:60]}" for name, tree in modules().items()
          if not at_home(name, FILE_HOMES) for node in ast.walk(tree) if touches_files(node))  # fmt: skip


def test_files_stay_small() -> None:
    """A module that grows past the ratchet holds two ideas."""
    sizes = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    wrong(f"{name}: {size} lines" for name, size in sizes.items() if size > LARGEST_FILE)


def test_blocks_stay_shallow() -> None:
    """Code that branches inside loops inside branches wants a function with a name."""
    blocks = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)

    def depth(node: ast.AST) -> int:
        inner = max((depth(child) for child in ast.iter_child_nodes(node)), default=0)
        is_elif = isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If)
        if is_elif:
            inner = max([0, depth(node.orelse[0]) - 1, *map(depth, node.body)])
        return inner + isinstance(node, blocks)

    wrong(f"{name}:{node.lineno} {node.name}: {depth(node)} levels" for name, tree in modules().items()
          for node in ast.walk(tree)
          if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and depth(node) > DEEPEST_NESTING)  # fmt: skip


def test_every_module_says_what_it_is() -> None:
    """A module opens with a docstring, and nothing in it is left for later."""
    wrong(f"{name}: no docstring" for name, tree in modules().items() if not ast.get_docstring(tree))
    wrong(f"{path.relative_to(ROOT)}: {word}" for path in PACKAGE.rglob("*.py")
          for word in re.findall(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text("utf-8")))  # fmt: skip


def test_tests_mirror_the_package() -> None:
    """Whoever changes a package finds its tests under the same name."""
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.rglob("*.py"))}

    wrong(f"tests/{name} mirrors no package" for name in folders - packages - PROGRAMMES)


def test_every_test_says_what_it_checks() -> None:
    """The docstring of a test is the rule that it keeps."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in (ROOT / "tests").rglob("test_*.py")}

    wrong(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}" for path, tree in trees.items() for node in ast.walk(tree)
          if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node))  # fmt: skip


def test_functions_stay_short() -> None:
    """A function longer than the ratchet does two things. Its docstring does not count."""

    def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
        first = node.body[min(1, len(node.body) - 1)] if ast.get_docstring(node) else node.body[0]
        assert node.end_lineno is not None
        return node.end_lineno - first.lineno + 1

    wrong(f"{name}:{node.lineno} {node.name}: {length(node)} lines" for name, tree in modules().items()
          for node in ast.walk(tree)
          if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > LONGEST_FUNCTION)  # fmt: skip


DESCRIBING = "import flowlib as fl\n@fl.task(version='2')\ndef f(x): return x\nf(f(1))"


def loaded_by(statements: str) -> set[str]:
    """Return the modules that a fresh interpreter loads to do something."""
    code = f"import sys\nbefore = set(sys.modules)\n{statements}\nprint(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_import_loads_nothing_else() -> None:
    """`import flowlib` alone is one file: whoever only may use it later pays nothing now."""
    assert loaded_by("import flowlib") == {"flowlib"}


@pytest.mark.parametrize("statements", [DESCRIBING, "import flowlib as fl\nfl.run", "import flowlib as fl\nfl.fan_out"])
def test_import_is_light(statements: str) -> None:
    """What describes work, and what will run it, loads nothing that only other programs need."""
    assert sorted(loaded_by(statements) & HEAVY) == []


def test_describing_work_loads_what_describes_it() -> None:
    """Tasks and their calls need the graph; what hashes, stores and runs comes with the first run."""
    loaded = loaded_by(DESCRIBING)
    ours = {".".join(name.split(".")[:2]) for name in loaded if name.startswith("flowlib.")}

    assert ours <= TO_DESCRIBE
    assert sorted(loaded & RUNNING) == []


def test_a_run_loads_no_other_door() -> None:
    """A program that runs tasks does not pay for sweeps, explanations, displays or background runs."""
    loaded = loaded_by("import flowlib as fl\nfl.run") - {"flowlib.sweep.failed"}  # a failed node may be a value

    wrong(name for name in sorted(loaded) if name in ("flowlib.engine.handle", "flowlib.engine.look")
          or name.startswith(("flowlib.views.", "flowlib.planning.explain", "flowlib.sweep.")))  # fmt: skip


def test_the_map_is_the_territory() -> None:
    """ARCHITECTURE.md lists every module of a package where it speaks of the package, and none that is not there."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    sections = dict(re.findall(r"^\*\*`(\w+)/`\*\*(.*?)(?=^\*\*`|^#)", text, re.MULTILINE | re.DOTALL))
    packages = {path.parent.name: path.parent for path in PACKAGE.glob("*/__init__.py")}

    assert sections.keys() == packages.keys()
    for name, folder in packages.items():
        listed = re.search(r"^Modules: (.*?)\n\n", sections[name], re.MULTILINE | re.DOTALL)
        assert listed is not None, f"{name}/ lists no modules"
        expected = {path.stem for path in folder.glob("*.py")} - {"__init__"}
        assert set(re.findall(r"`(\w+)`", listed[1])) ^ expected == set(), name
    wrong(
        f"{path.name} is not in ARCHITECTURE.md" for path in PACKAGE.glob("[a-z]*.py") if f"`{path.name}`" not in text
    )
    wrong(f"ARCHITECTURE.md names {path}, which does not exist" for path in re.findall(r"`([a-z_]+/[a-z_/]*\.py)`", text)
          if not (PACKAGE / path).exists() and not (ROOT / path).exists())  # fmt: skip


def test_the_state_table_is_the_schedulers() -> None:
    """The table of node states in ARCHITECTURE.md is the one the scheduler obeys."""
    rows = [f"| {state} | {cause} | {after} |" for (state, cause), after in TRANSITIONS.items()]
    table = "\n".join(["| from | what happened | to |", "|---|---|---|", *rows])

    assert f"\n{table}\n\n" in (ROOT / "ARCHITECTURE.md").read_text("utf-8"), table
