"""Write small projects, import them under names of their own, and ask for code versions."""

import importlib
import itertools
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from flowlib.hashing.code import CodeVersion, CodeVersions
from flowlib.hashing.forms import SourceIndex

_NUMBERS = itertools.count()  # no two packages of a test session share a name


class Project:
    """A folder of importable packages. Each `load` makes a new package, so that nothing is imported twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = SourceIndex()

    def load(self, main: str, **modules: str) -> ModuleType:
        """Write `main` and other modules into a new package and import its `main`."""
        name = f"project_{next(_NUMBERS)}"
        target = self.folder / name
        target.mkdir()
        (target / "__init__.py").write_text("")
        for module, text in {"main": main, **modules}.items():
            path = target / f"{module}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))
        importlib.invalidate_caches()
        return importlib.import_module(f"{name}.main")

    def version(self, main: str, entry: str = "entry", **modules: str) -> CodeVersion:
        """Return the code version of `entry` in a new package."""
        return self.version_of(getattr(self.load(main, **modules), entry))

    def version_of(self, fn: object) -> CodeVersion:
        """Return a code version as a new run sees it."""
        return CodeVersions(self.index).version(fn)

    def digest(self, main: str, entry: str = "entry", **modules: str) -> str:
        """Return the digest of `entry` in a new package."""
        return self.version(main, entry, **modules).digest

    def differ(self, one: str, two: str, **modules: str) -> bool:
        """Tell whether two texts of the main module give different versions."""
        return self.digest(one, **modules) != self.digest(two, **modules)


def open_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Make a folder importable for one test and return it as a project."""
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return Project(folder)


def short_names(version: CodeVersion) -> set[str]:
    """Return the names of a version's parts without the package that `load` made up."""
    return {name.split(".", 1)[1] if name.startswith("project_") else name for name in version.parts}


def forget(name: str) -> None:
    """Remove a package from `sys.modules`."""
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]
