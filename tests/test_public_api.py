"""The public names: exactly those of `__all__`, each with a docstring and a word in the documents."""

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import flowlib

ROOT = Path(__file__).parents[1]
WORDS = set(re.findall(r"\w+", (ROOT / "README.md").read_text("utf-8") + (ROOT / "ARCHITECTURE.md").read_text("utf-8")))


def test_all_equals_what_is_importable() -> None:
    """Nothing is public by accident, and nothing promised is missing."""
    names = {name for name, value in vars(flowlib).items() if not isinstance(value, ModuleType) and name[0] != "_"}

    assert sorted(set(flowlib.__all__) - {"__version__"}) == sorted(names)


def test_all_has_no_duplicates() -> None:
    """The list is written for readers, by theme; a name belongs to one theme."""
    assert len(set(flowlib.__all__)) == len(flowlib.__all__)


@pytest.mark.parametrize("name", flowlib.__all__)
def test_public_name_is_documented(name: str) -> None:
    """A user who meets a name finds what it does where they look: in `help()` and in the documents."""
    value = getattr(flowlib, name)

    assert name in WORDS, "neither README.md nor ARCHITECTURE.md mentions it"
    if inspect.isclass(value) or inspect.isroutine(value):
        assert inspect.getdoc(value), "no docstring"


@pytest.mark.parametrize("name", flowlib.__all__)
def test_no_module_carries_the_name_of_a_function(name: str) -> None:
    """Importing a submodule binds its name on the package, where it would replace the function."""
    folder = ROOT / "flowlib"

    assert not (folder / name).is_dir()
    assert not (folder / f"{name}.py").exists()
