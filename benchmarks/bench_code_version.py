"""What a code version costs: a small task, and one that reaches 2,000 functions in 200 modules.

The floor of each group is what Python itself takes to compile the same source: nobody can verify a source for less.
Run with `pytest benchmarks/bench_code_version.py`.
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flowlib.hashing.code import CodeVersions
from flowlib.hashing.forms import SourceIndex

N_MODULES = 200
N_FUNCTIONS = 10
SMALL = """
LIMIT = 3
def deep(x):
    return x + LIMIT
def helper(x):
    return [deep(item) for item in x]
def entry(x, scale=2):
    '''A small task with a few helpers.'''
    total = sum(helper(x)) * scale
    return total
"""


def large_module(number: int) -> str:
    """Write a module of ten functions; each uses another of its own and one of the next module."""
    next_module = f"from . import mod{number + 1}\n" if number + 1 < N_MODULES else ""
    functions = []
    for place in range(N_FUNCTIONS):
        calls = [f"f{place + 1}(x)"] if place + 1 < N_FUNCTIONS else []
        calls += [f"mod{number + 1}.f{place}(x)"] if next_module else []
        functions.append(
            f"def f{place}(x, scale={place}):\n    '''Do step {place}.'''\n    total = [x * n for n in range(scale)]\n"
            f"    for item in total:\n        if item > LIMIT:\n            x += item\n    return {' + '.join(['x', *calls])}\n"
        )
    return f"import math\n{next_module}LIMIT = {number}\n" + "\n\n".join(functions)


@pytest.fixture
def projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """Import a small and a large project, and forget them afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, files in {
        "bench_small": {"mod0": SMALL},
        "bench_large": {f"mod{number}": large_module(number) for number in range(N_MODULES)},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        for module, text in files.items():
            (tmp_path / name / f"{module}.py").write_text(text)
    importlib.invalidate_caches()
    for number in reversed(range(N_MODULES)):  # the last first: imports that nest 200 deep would overflow the stack
        importlib.import_module(f"bench_large.mod{number}")
    yield {name: importlib.import_module(f"bench_{name}.mod0") for name in ("small", "large")}
    for module in [module for module in sys.modules if module.startswith(("bench_small", "bench_large"))]:
        del sys.modules[module]


def entry_of(projects: dict[str, ModuleType], size: str) -> Any:
    return projects[size].entry if size == "small" else projects[size].f0


def sources_of(projects: dict[str, ModuleType], size: str) -> list[str]:
    return [path.read_text() for path in Path(str(projects[size].__file__)).parent.glob("mod*.py")]


@pytest.mark.parametrize("size", ["small", "large"])
def test_floor_is_compiling_the_source(benchmark: Any, projects: dict[str, ModuleType], size: str) -> None:
    """What Python takes to compile the modules once."""
    benchmark.group = f"code version, {size}, first time"
    texts = sources_of(projects, size)
    benchmark(lambda: [compile(text, "bench", "exec") for text in texts])


@pytest.mark.parametrize("size", ["small", "large"])
def test_first_version_of_a_process(benchmark: Any, projects: dict[str, ModuleType], size: str) -> None:
    """Nothing is known: sources are read, parsed, compiled, compared and normalised."""
    benchmark.group = f"code version, {size}, first time"
    entry = entry_of(projects, size)
    version = benchmark(lambda: CodeVersions(SourceIndex()).version(entry))

    n_functions = sum(".f" in name and "=" not in name for name in version.parts)
    assert size == "small" or n_functions == N_MODULES * N_FUNCTIONS


@pytest.mark.parametrize("size", ["small", "large"])
def test_version_of_a_new_process_with_nothing_changed(
    benchmark: Any, projects: dict[str, ModuleType], size: str
) -> None:
    """The process knows nothing, but forms of the code were kept by an earlier one; to compare with the first version."""
    benchmark.group = f"code version, {size}, first time"
    entry, kept = entry_of(projects, size), dict[str, str]()

    def texts(names: Sequence[str]) -> dict[str, str]:
        return {name: kept[name] for name in names if name in kept}

    first = CodeVersions(SourceIndex(), texts)
    expected = first.version(entry)
    kept |= first.take_unkept(texts)
    version = benchmark(lambda: CodeVersions(SourceIndex(), texts).version(entry))

    assert version == expected


@pytest.mark.parametrize("size", ["small", "large"])
def test_version_in_a_later_run(benchmark: Any, projects: dict[str, ModuleType], size: str) -> None:
    """The process knows the code objects; globals and closures are looked at again."""
    benchmark.group = f"code version, {size}, later runs"
    entry, index = entry_of(projects, size), SourceIndex()
    CodeVersions(index).version(entry)
    benchmark(lambda: CodeVersions(index).version(entry))


@pytest.mark.parametrize("size", ["small", "large"])
def test_version_within_a_run(benchmark: Any, projects: dict[str, ModuleType], size: str) -> None:
    """The run knows the function: a look-up."""
    benchmark.group = f"code version, {size}, later runs"
    versions, entry = CodeVersions(SourceIndex()), entry_of(projects, size)
    versions.version(entry)
    benchmark(lambda: versions.version(entry))
