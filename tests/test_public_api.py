"""The public names: exactly those of `__all__`, each with a docstring and a word in the documents."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import flowlib

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
HOOKS = {"load_ipython_extension", "unload_ipython_extension"}  # IPython calls these, people do not


def lazily_imported() -> dict[str, str]:
    """Return public name -> module, as the root's table has it."""
    return {name: home for home, names in flowlib._HOMES.items() for name in names.split()}


def test_all_equals_what_is_importable() -> None:
    """Nothing is public by accident, and nothing promised is missing."""
    assert all(hasattr(flowlib, name) for name in flowlib.__all__)
    names = {name for name, value in vars(flowlib).items() if not isinstance(value, ModuleType) and name[0] != "_"}

    assert sorted(set(flowlib.__all__) - {"__version__"}) == sorted(names - HOOKS)
    assert names >= HOOKS


def test_checkers_and_the_interpreter_import_the_same() -> None:
    """The imports that type checkers read are those that a first use makes."""
    tree = ast.parse((ROOT / "flowlib" / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    read = {alias.name: str(node.module).removeprefix("flowlib.")
            for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}  # fmt: skip

    assert lazily_imported() == read
    assert set(read) == set(flowlib.__all__) - {"__version__"}


def test_names_are_known_before_they_are_used() -> None:
    """Completion, `dir()` and a misspelt name work in a program that has used nothing yet; no name is left behind."""
    code = """
import flowlib
assert set(flowlib.__all__) <= set(dir(flowlib))
known = {"sys", "load_ipython_extension", "unload_ipython_extension"}
assert not [name for name in vars(flowlib) if name[0] != "_" and name not in known], vars(flowlib)
try:
    flowlib.taks
except AttributeError as error:
    assert (error.name, error.obj) == ("taks", flowlib)
    assert not hasattr(flowlib, "taks")
else:
    raise AssertionError
from flowlib import task
assert task is flowlib.task is vars(flowlib)["task"]
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT)


def test_all_is_in_order() -> None:
    """One order, in which a name is found and a duplicate seen: classes, then functions, each by the alphabet."""
    assert flowlib.__all__ == ["__version__", *sorted(set(flowlib.__all__) - {"__version__"})]


def test_readme_lists_the_public_names() -> None:
    """The list of public names is complete, and holds nothing else."""
    section = README.partition("## All public names")[2].partition("\n## ")[0]
    rows = [row.split("|")[2] for row in section.splitlines() if row.startswith("| ") and "`" in row]

    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == sorted(flowlib.__all__)


@pytest.mark.parametrize("name", flowlib.__all__)
def test_public_name_explains_itself(name: str) -> None:
    """`help()` says what a name is; a function's docstring has an example, which tests/test_docs.py runs."""
    value = getattr(flowlib, name)

    if inspect.isclass(value) or inspect.isroutine(value):
        assert inspect.getdoc(value), "no docstring"
    if inspect.isfunction(value):
        assert ">>> " in str(value.__doc__), "no example"


@pytest.mark.parametrize("name", flowlib.__all__)
def test_public_signature_is_annotated(name: str) -> None:
    """Editors know every parameter and every result."""
    value = getattr(flowlib, name)
    if not inspect.isfunction(value):
        return
    signature = inspect.signature(value)

    assert signature.return_annotation is not inspect.Signature.empty
    assert [p.name for p in signature.parameters.values() if p.annotation is inspect.Parameter.empty] == []


def test_version_is_the_packages() -> None:
    """The version that users see is the one that was installed."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"] == flowlib.__version__


@pytest.mark.parametrize("name", flowlib.__all__)
def test_no_module_carries_the_name_of_a_function(name: str) -> None:
    """Importing a submodule binds its name on the package, where it would replace the function."""
    folder = ROOT / "flowlib"

    assert not (folder / name).is_dir()
    assert not (folder / f"{name}.py").exists()
