"""Who owns a module: the user, or something installed that a name and a version stand for.

Theory of operation: a file below a site-packages directory belongs to the installed distribution that lists it; one
below the standard library belongs to Python; flowlib's own files belong to flowlib. Everything else is user code and
is read: scripts, notebooks, projects, editable installs, and also files in site-packages that no distribution lists.
A compiled module that is nobody's cannot be read; it owns itself, with the digest of its file as version.

Invariant: an owner's version says all there is to know about its code; user code has no owner (None).
"""

import importlib.machinery
import importlib.util
import os
import re
import site
import sys
import sysconfig
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING

import attrs

from flowlib.hashing.source import digest_of_file, read_metadata

if TYPE_CHECKING:
    import importlib.metadata

SCHEME = "1"
"""Number of the way code versions are made; raising it changes every code version."""

_SITE_FOLDER = re.compile(r".*[/\\](?:site|dist)-packages(?=[/\\])")
_FLOWLIB_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@attrs.frozen
class Owner:
    """An installed distribution, Python itself, or flowlib.

    >>> str(Owner("numpy", "2.4.6"))
    'numpy 2.4.6'
    """

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


PYTHON = Owner(
    "python" if sys.implementation.name == "cpython" else sys.implementation.name,
    f"{sys.version_info[0]}.{sys.version_info[1]}",
)
FLOWLIB = Owner("flowlib", f"scheme {SCHEME}")


def is_installed(name: str, version: str) -> bool:
    """Whether there is an installed distribution of this name and version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed_version

    try:
        return installed_version(name) == version
    except (PackageNotFoundError, ValueError):
        return False


class Owners:
    """Answers who owns files and modules; each answer is kept. Safe to share by threads.

    Cost: about a microsecond once known. The first module of a distribution whose name differs from its module's name
    (`yaml`, `sklearn`) reads the file lists of everything installed: some milliseconds. `packages_distributions` of the
    standard library gives the same answer for top-level names only, and takes tenths of a second.
    """

    def __init__(self) -> None:
        self._by_file: dict[str, Owner | None] = {}
        self._by_module: dict[str, Owner | None] = {}
        self._by_first_name: dict[tuple[str, str], dict[Owner, str]] = {}
        self._library = tuple(
            os.path.join(os.path.abspath(sysconfig.get_path(name)), "") for name in ("stdlib", "platstdlib")
        )
        folders = [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("purelib")]
        folders.append(sysconfig.get_path("platlib"))
        self._sites = tuple(os.path.join(os.path.abspath(folder), "") for folder in dict.fromkeys(folders))

    def of_file(self, filename: str) -> Owner | None:
        """Return the owner of a source or extension file, None for user code and for what is not a file."""
        if filename not in self._by_file:
            self._by_file[filename] = self._find_file_owner(filename)
        return self._by_file[filename]

    def of_module(self, name: str) -> Owner | None:
        """Return the owner of the module `name`, loaded or not. Imports nothing."""
        known = self._by_module.get(name)
        if known is None:
            known = self._find_module_owner(name)
            if name in sys.modules or known is not None:
                self._by_module[name] = known
        return known

    def _find_file_owner(self, filename: str) -> Owner | None:
        if filename.startswith("<"):
            return PYTHON if filename.startswith("<frozen ") else None
        path = os.path.abspath(filename)
        if path.startswith(os.path.join(_FLOWLIB_FOLDER, "")):
            return FLOWLIB
        folder = next((folder for folder in self._sites if path.startswith(folder)), None)
        if folder is None:
            match = _SITE_FOLDER.match(path)
            folder = os.path.join(match.group(), "") if match else None
        found = self._find_distribution(folder, path[len(folder) :]) if folder is not None else None
        if found is None and folder is None and path.startswith(self._library):
            return PYTHON
        if found is None and path.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)):
            return Owner(os.path.basename(path).partition(".")[0], digest_of_file(path) or "unreadable")
        return found

    def _find_module_owner(self, name: str) -> Owner | None:
        module = sys.modules.get(name)
        top = name.partition(".")[0]
        if not isinstance(module, ModuleType):
            return self._find_unloaded_owner(name, top)
        filename = getattr(module, "__file__", None)
        if isinstance(filename, str):
            return self.of_file(filename)
        builtin = name in sys.builtin_module_names or getattr(module, "__spec__", None) is not None
        return PYTHON if builtin and top in sys.stdlib_module_names else None

    def _find_unloaded_owner(self, name: str, top: str) -> Owner | None:
        if name != top and top in sys.modules:
            return self._find_module_owner(top)
        try:
            spec = importlib.util.find_spec(top)  # of a top-level name: looks, imports nothing
        except (ImportError, ValueError, AttributeError):
            return None
        if spec is None:
            return None
        if spec.origin in ("built-in", "frozen"):
            return PYTHON
        return self.of_file(spec.origin) if spec.origin else None

    def _find_distribution(self, folder: str, relative: str) -> Owner | None:
        """Return the distribution that lists a file, given a site-packages directory and the path below it."""
        relative = relative.replace(os.sep, "/")
        first = relative.partition("/")[0]
        if (folder, first) not in self._by_first_name:
            self._by_first_name[folder, first] = _listers(folder, first)
        listers = self._by_first_name[folder, first]
        if len(listers) > 1:  # a namespace package: only the whole path tells its distributions apart
            exact = {owner: record for owner, record in listers.items() if f"\n{relative}," in record}
            listers = exact or listers
        return next(iter(listers), None)


def _listers(folder: str, first: str) -> dict[Owner, str]:
    """Return the distributions installed in `folder` that list a file or package `first`, each with its file list."""
    import importlib.metadata  # brings e-mail, sockets and zip files along

    namesakes = importlib.metadata.distributions(name=first, path=[folder])
    found = _listing(namesakes, first)
    return found or _listing(importlib.metadata.distributions(path=[folder]), first)


def _listing(distributions: "Iterable[importlib.metadata.Distribution]", first: str) -> dict[Owner, str]:
    found: dict[Owner, str] = {}
    for distribution in distributions:
        record = "\n" + (read_metadata(distribution, "RECORD") or read_metadata(distribution, "installed-files.txt"))
        declared = read_metadata(distribution, "top_level.txt").split()
        if f"\n{first}/" in record or f"\n{first}," in record or first.partition(".")[0] in declared:
            found[Owner(distribution.metadata["Name"], distribution.version)] = record
    return dict(sorted(found.items(), key=lambda item: item[0].name))
