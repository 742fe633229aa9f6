"""One run's digests: values and code, consistent with each other."""

import functools
import threading
from pathlib import Path
from typing import Any

import pytest

from flowlib.errors import CodeNotFound, Undigestible
from flowlib.hashing import identity
from flowlib.hashing.code import CodeVersions
from flowlib.hashing.identity import Identity, digest
from tests.hashing.code_project import Project, open_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a folder to import small packages from."""
    return open_project(tmp_path, monkeypatch)


def test_plain_values_have_one_digest_everywhere() -> None:
    """A run's digest of plain data is that of any other run."""
    value = {"lr": 0.1, "layers": [1, 2, (3,)], "name": "a"}

    assert Identity().digest(value) == Identity().digest(value) == digest(value)


def test_code_is_looked_at_for_values_that_hold_code_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What names code is made when it is asked for: most values are plain."""
    made: list[object] = []

    def counted(*given: Any) -> CodeVersions:
        made.append(None)
        return CodeVersions(*given)

    monkeypatch.setattr(identity, "CodeVersions", counted)

    digest({"lr": 0.1, "layers": [1, 2, (3,)], "name": "a"})
    assert not made
    assert digest([open_project, len]) == Identity().digest([open_project, len])
    assert len(made) == 2  # one for the digest, one for the identity


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("def f(x): return x + 1\nvalue = f", "x + 1", "x + 2"),
        ("def f(x): return x + 1\nvalue = {'callback': [f]}", "x + 1", "x + 2"),
        ("import functools\ndef f(x, y): return x\nvalue = functools.partial(f, 1)", "return x", "return y"),
        ("class A:\n def go(self): return 1\nvalue = A", "return 1", "return 2"),
        ("class A:\n def go(self): return 1\nvalue = A()", "return 1", "return 2"),
        ("class A:\n def go(self): return 1\nvalue = A().go", "return 1", "return 2"),
        ("def helper(): return 1\ndef f(): return helper()\nvalue = (f,)", "return 1", "return 2"),
        ("value = lambda x: x + 1", "x + 1", "x + 2"),
        ("from flowlib.graph.task import task\n@task\ndef value(x): return 1", "return 1", "return 2"),
    ],
)
def test_code_inside_values_counts_by_its_version(project: Project, text: str, old: str, new: str) -> None:
    """A function, class or instance passed as an argument is as well tracked as one called by name."""
    one, same, other = project.load(text), project.load("# moved\n\n" + text), project.load(text.replace(old, new))

    assert Identity().digest(one.value) == Identity().digest(same.value)
    assert Identity().digest(one.value) != Identity().digest(other.value)


def test_a_value_uses_the_code_version_of_the_run(project: Project) -> None:
    """Within one run a function has one version, asked for as code or met inside a value."""
    main = project.load("K = 1\ndef f(): return K")
    identity = Identity()
    version = identity.code_version(main.f)
    before = identity.digest([main.f])
    main.K = 2

    assert identity.code_version(main.f) is version
    assert identity.digest([main.f]) == before
    assert Identity().digest([main.f]) != before


def test_what_has_no_digest_is_refused_with_its_path() -> None:
    """The error says where in the argument the trouble sits."""
    with pytest.raises(Undigestible) as caught:
        Identity().digest({"a": [1, threading.Lock()]}, path="config")

    assert caught.value.path.startswith("config")


def test_what_has_no_code_is_refused() -> None:
    """Numbers are no tasks."""
    with pytest.raises(CodeNotFound):
        Identity().code_version(3)


def test_partials_and_bound_methods_have_code_versions() -> None:
    """Anything callable of the user's can be a task's function."""

    class Model:
        def go(self, x: int) -> int:
            return x

    identity = Identity()
    found = {identity.code_version(fn).digest for fn in (functools.partial(digest, 1), Model().go, Model, len)}

    assert len(found) == 4


def test_identity_can_be_shared_by_threads(project: Project) -> None:
    """Many threads asking at once get one answer."""
    main = project.load("\n".join(f"def f{n}(x): return f{(n + 1) % 20}(x)" for n in range(20)))
    identity = Identity()
    found: list[list[str]] = []

    def ask() -> None:
        found.append([identity.code_version(getattr(main, f"f{n}")).digest for n in range(20)])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert all(answer == found[0] for answer in found)


def _load(source: str) -> dict[str, Any]:
    import linecache

    name = f"<edited {len(source)} {hash(source)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    space: dict[str, Any] = {"__name__": "edited"}
    exec(compile(source, name, "exec"), space)
    return space


ENUM = "import enum\nclass Kind(enum.Enum):\n    A = 1\n    def score(self):\n        return 1\n"
OWN = "class Own:\n    def __flowlib_digest__(self):\n        return 'x'\n    def score(self):\n        return 1\n"


@pytest.mark.parametrize(("source", "make"), [(ENUM, "Kind.A"), (OWN, "Own()")])
def test_methods_of_an_argument_count(source: str, make: str) -> None:
    """A task may call the methods of an enum member or of an object with its own digest, so their code counts."""
    before, same, after = (_load(text) for text in (source, source, source.replace("return 1", "return 2")))
    digests = [Identity().digest(eval(make, space)) for space in (before, same, after)]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_new_members_of_a_plain_enum_change_nothing() -> None:
    """An enum without methods counts by member: the others may come and go."""
    small, large = (_load(f"import enum\nclass Kind(enum.Enum):\n    A = 1\n{more}") for more in ("", "    B = 2\n"))
    assert Identity().digest(small["Kind"].A) == Identity().digest(large["Kind"].A)
