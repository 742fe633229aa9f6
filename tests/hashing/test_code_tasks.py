"""Tasks in code versions: options are not code, other tasks are followed."""

from pathlib import Path

import pytest

from tests.hashing.code_project import Project, open_project

HEAD = "from flowlib.graph.task import task\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a folder to import small packages from."""
    return open_project(tmp_path, monkeypatch)


def test_execution_options_are_not_code(project: Project) -> None:
    """A task and the plain function have one version, whatever the options of the decorator."""
    body = "def entry(x):\n return x + 1"
    plain = project.version(HEAD + body).digest
    for decorator in ("@task", "@task()", "@task(tags=['a'], priority=3)", "@task(name='other', cache=False)"):
        main = project.load(f"{HEAD}{decorator}\n{body}")
        assert project.version_of(main.entry.fn).digest == plain


def test_other_tasks_are_followed_and_listed(project: Project) -> None:
    """A task that a task calls counts with its code, by name in `tasks`."""
    text = f"{HEAD}@task\ndef helper(x): return x\n@task(name='second')\ndef other(x): return x\n@task\ndef entry(x): return helper(x), [other]"
    main = project.load(text)
    version = project.version_of(main.entry.fn)
    changed = project.load(text.replace("def helper(x): return x", "def helper(x): return -x"))

    assert version.tasks == {"helper", "second"}
    assert project.version_of(changed.entry.fn).digest != version.digest
    assert version.weak == ()


@pytest.mark.parametrize("used", ["helper(x)", "TABLE['a'](x)", "made(x)"])
def test_the_version_option_of_a_reached_task_counts(project: Project, used: str) -> None:
    """`version=` of another task is a salt for all who call it, also out of a table or a closure."""
    text = (
        f"{HEAD}@task(version='1')\ndef helper(x): return x\nTABLE = {{'a': helper}}\n"
        f"def make(t): return lambda x: t(x)\nmade = make(helper)\ndef entry(x): return {used}"
    )

    assert project.version(text).tasks == {"helper"}
    assert project.differ(text, text.replace("version='1'", "version='2'"))
    assert not project.differ(text, text.replace("version='1'", "version='1', tags=['x']"))


def test_a_task_that_calls_itself_has_a_version(project: Project) -> None:
    """Recursion through the task object ends."""
    main = project.load(f"{HEAD}@task\ndef entry(n): return entry(n - 1) if n else 0")

    assert project.version_of(main.entry.fn).tasks == {"entry"}
    assert project.version_of(main.entry).tasks == set()


def test_a_task_as_a_method_brings_its_class(project: Project) -> None:
    """A task declared in a class body reaches the class through `self`."""
    text = (
        f"{HEAD}class Model:\n @task\n def fit(self): return self.step()\n def step(self): return 1\nentry = Model.fit"
    )
    main, other = project.load(text), project.load(text.replace("return 1", "return 2"))

    assert project.version_of(main.entry.fn).digest != project.version_of(other.entry.fn).digest


def test_async_tasks_and_partials_have_versions(project: Project) -> None:
    """Whatever `task` accepts can be versioned."""
    text = (
        f"{HEAD}import functools\n@task\nasync def later(x): return x + 1\ndef full(x, y): return x - y\n"
        "part = task(functools.partial(full, y=1))\nshort = task(lambda x: x * 2)"
    )
    main = project.load(text)
    other = project.load(text.replace("x + 1", "x + 2").replace("x - y", "y - x").replace("x * 2", "x * 3"))

    for name in ("later", "part", "short"):
        one, two = (project.version_of(getattr(module, name).fn) for module in (main, other))
        assert one.digest != two.digest
        assert one.weak == ()
