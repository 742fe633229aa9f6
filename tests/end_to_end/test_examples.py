"""The examples do what they say: a second run runs nothing, a grown sweep runs its new points, files come back."""

import importlib.util
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

import flowlib as fl
from flowlib.cli.main import main as flowlib_command
from flowlib.history.query import list_runs, load_record
from flowlib.history.record import RunRecord
from flowlib.store.blobs import Blobs
from flowlib.store.local import LocalStore
from flowlib.testing import EventLog

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
BY_NAME = {path.stem: path for path in EXAMPLES}


def load(name: str) -> ModuleType:
    """Import an example under its own name, as `flowlib run` does."""
    spec = importlib.util.spec_from_file_location(name, BY_NAME[name])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def script(name: str) -> str:
    """Run an example as a script, in a process of its own; return what it printed. Warnings are errors."""
    command = [sys.executable, "-W", "error", str(BY_NAME[name])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def last_run() -> RunRecord:
    """Return the record of the latest run in the current directory."""
    return load_record(list_runs(".flowlib/runs")[0])


def states(record: RunRecord) -> dict[str, set[str]]:
    """Return the states in which the nodes of each task ended."""
    return {task.task: set(task.counts) for task in record.tasks}


def results(text: str) -> list[str]:
    """Return the lines that do not speak of time."""
    return [line for line in text.splitlines() if not re.search(r"\d s  |run", line)]


# ---- every example


@pytest.mark.parametrize("name", ["batch", "etl", "video_pipeline"])
def test_second_run_runs_nothing(name: str) -> None:
    """The second run of an example says that nothing ran, its log agrees, and it prints the same results."""
    first, second = script(name), script(name)

    assert "nothing ran" not in first
    assert "nothing ran" in second
    assert results(first) == results(second) != []
    again = {task for task, ended in states(last_run()).items() if ended != {"cached"}}
    assert again <= {"find", "measure", "collect(fan_out(measure))", "collect(measure)"}, (
        "only the bad file and the listing"
    )
    assert bool(again) == (name == "batch")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_commands_in_the_docstring_work(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command lines an example suggests name options that it has."""
    doc = str(load(path.stem).__doc__)
    commands = re.findall(r"^ +(python|flowlib run) examples/(\S+\.py)(.*?)(?: +#.*)?$", doc, re.MULTILINE)

    assert [verb for verb, _, _ in commands] == ["python", "flowlib run"]
    assert {name for _, name, _ in commands} == {path.name}
    Path("my-wines.csv").write_bytes(load("etl").WINES.read_bytes())
    words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', commands[1][2])]
    assert flowlib_command(["plan", str(path), *words]) == 0, capsys.readouterr().err
    assert "to run" in capsys.readouterr().out


# ---- the digits


@attrs.frozen
class Study:
    """A finished run of the digits example."""

    folder: Path
    state: Path
    output: str
    record: RunRecord


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """Run the digits example once for all tests of it."""
    folder, state = tmp_path_factory.mktemp("study"), tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("FLOWLIB_STATE_DIR", str(state))
        patch.setenv("FLOWLIB_PROGRESS", "off")
        yield Study(folder, state, script("digits_sweep"), last_run())


@pytest.fixture
def study(finished: Study, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Work where the digits example has been run."""
    monkeypatch.chdir(finished.folder)
    monkeypatch.setenv("FLOWLIB_STATE_DIR", str(finished.state))
    return finished


def test_digits_has_two_families_and_two_dozen_models(study: Study) -> None:
    """The sweep is a real one, and what it reports is what a good model of these images reaches."""
    labels = [node.label for node in study.record.nodes.values() if node.task == "mean(evaluate)"]
    accuracies = [float(text) for text in re.findall(r"([\d.]+)%", study.output)]

    assert len(labels) == len(set(labels)) >= 24
    assert {re.search(r"family=(\w+)", label)[1] for label in labels} == {"svm", "forest"}  # type: ignore[index]
    assert len(accuracies) == 3
    assert all(97 < accuracy < 100 for accuracy in accuracies)


def test_digits_second_run_runs_nothing(study: Study) -> None:
    """In a new process everything is a hit, and the results are the same."""
    again = script("digits_sweep")

    assert "nothing ran" in again
    assert "nothing ran" not in study.output
    assert results(again) == results(study.output) != []
    assert set(last_run().counts) == {"cached"}
    assert last_run().run != study.record.run


def test_digits_warm_run_opens_only_the_report(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm run walks digests: it decodes the report and the note about the picture, and reads no blob."""
    loaded: list[str] = []
    read: list[str] = []
    plain_load, plain_read = LocalStore.load, Blobs.read

    def counting_load(store: LocalStore, payload: Any) -> object:
        value = plain_load(store, payload)
        loaded.append(type(value).__name__)
        return value

    def counting_read(blobs: Blobs, digest: Any) -> memoryview:
        read.append(digest)
        return plain_read(blobs, digest)

    monkeypatch.setattr(LocalStore, "load", counting_load)
    monkeypatch.setattr(Blobs, "read", counting_read)
    log = EventLog()
    report = fl.run(load("digits_sweep").pipeline(), observers=[log])

    assert type(report).__name__ == "Report"
    assert log.ran == []
    assert set(loaded) == {"File", "Report"}
    assert read == []


@pytest.mark.parametrize("damage", ["deleted", "edited"])
def test_digits_picture_comes_back(study: Study, damage: str) -> None:
    """A picture that was deleted or edited is restored from the cache; nothing is drawn again."""
    picture = Path("digits.png")
    before = picture.read_bytes()
    if damage == "deleted":
        picture.unlink()
    else:
        picture.write_bytes(b"scribble")
    log = EventLog()
    fl.run(load("digits_sweep").pipeline(), observers=[log])

    assert picture.read_bytes() == before
    assert log.ran == []


def test_digits_grown_sweep_runs_only_new_points(study: Study) -> None:
    """Deeper forests add three models on three folds; the models that were there are hits."""
    log = EventLog()
    fl.run(load("digits_sweep").pipeline(depth_max=9), observers=[log])

    ran, cached = Counter(log.finished), Counter(log.cached)
    assert (ran["evaluate"], cached["evaluate"]) == (9, 72)
    assert (ran["mean(evaluate)"], cached["mean(evaluate)"]) == (3, 24)
    assert ran["draw"] == 0


# ---- the others


def test_video_starts_a_task_when_its_inputs_are_there() -> None:
    """The hook and the script start together, as do the three tasks behind the script."""
    module = load("video_pipeline")
    log = EventLog()
    made = fl.run(module.pipeline(topic="a whale"), workers=4, observers=[log])

    order = [f"{type(event).__name__} {event.task}" for event in log.events if hasattr(event, "task")]
    after_story = order.index("NodeFinished story")
    assert set(order[after_story + 1 : after_story + 3]) == {"NodeStarted script", "NodeStarted hook"}
    first_end = min(order.index(f"NodeFinished {name}") for name in ("audio", "images", "video"))
    assert all(order.index(f"NodeStarted {name}") < first_end for name in ("audio", "images", "video"))
    assert "2 clips, 2 stills" in made


def test_video_prints_the_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    """The output holds the sum, the longest path and the time of this run, which lies between."""
    load("video_pipeline").main()
    output = capsys.readouterr().out
    total, path, this = (float(found) for found in re.findall(r"^\D+([\d.]+) s", output, re.MULTILINE))

    assert (total, path) == (0.8, 0.5)
    assert this >= path


def test_batch_finds_its_items_at_run_time() -> None:
    """However many files there are, each is measured once; a new file is the only one that runs."""
    module = load("batch")
    folder = Path("texts")
    folder.mkdir()
    for number in range(25):
        (folder / f"f{number:02}.py").write_text(f'def f{number}():\n    """Doc."""\n')
    first, second = EventLog(), EventLog()
    batch = fl.run(module.pipeline(folder=folder), workers=20, observers=[first])
    (folder / "new.py").write_text("def g(): pass\n")
    grown = fl.run(module.pipeline(folder=folder), observers=[second])

    assert (batch.files, batch.functions, batch.documented, batch.table) == (25, 25, 25, None)
    assert (grown.files, grown.functions, grown.documented) == (26, 26, 25)
    assert (first.ran.count("measure"), second.ran.count("measure")) == (25, 1)


def test_batch_measures_at_most_ten_at_once() -> None:
    """The limit of the fan-out holds however many workers the run has."""
    module = load("batch")
    for number in range(40):
        Path(f"f{number}.py").write_text(f"x = {number}\n")
    log = EventLog()
    fl.run(module.pipeline(folder=Path.cwd()), workers=32, observers=[log])

    running = peak = 0
    for event in log.events:
        if getattr(event, "task", "") == "measure":
            running += {"NodeStarted": 1, "NodeFinished": -1}[type(event).__name__]
            peak = max(peak, running)
    assert 1 < peak <= module.AT_ONCE == 10


def test_batch_keeps_errors_by_item() -> None:
    """A file that is not Python is listed with its error; the others are measured, and so they are after its repair."""
    module = load("batch")
    for name, text in {"good.py": "x = 1\n", "bad.py": "x = (\n", "worse.py": "\0"}.items():
        Path(name).write_text(text)
    target = partial(module.pipeline, folder=Path.cwd(), pattern="*.py", export=Path("sizes.csv"))
    batch = fl.run(target())

    assert batch.files == 1
    assert sorted(batch.failed) == ["bad.py", "worse.py"]
    assert all("SyntaxError" in error for error in batch.failed.values())
    assert batch.table.read_text().splitlines() == ["file,lines,functions,documented", "good.py,1,0,0"]
    Path("bad.py").write_text("x = ()\n")
    assert sorted(fl.run(target()).failed) == ["worse.py"]
    assert len(Path("sizes.csv").read_text().splitlines()) == 3


def test_etl_stops_where_a_change_has_no_effect() -> None:
    """A row that `clean` drops changes the raw table, but nothing behind `clean` runs again."""
    module = load("etl")
    source = Path("wines.csv")
    source.write_bytes(module.WINES.read_bytes())
    first = fl.run(module.pipeline(source=source)).read_text()
    source.write_text(source.read_text() + "-1" + ",1" * 12 + ",0\n")
    log = EventLog()
    second = fl.run(module.pipeline(source=source), observers=[log])

    assert log.ran == ["extract", "clean"]
    assert second.read_text() == first
    assert "Worth a second look:" in first
