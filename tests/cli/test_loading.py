"""Importing the file of a pipeline, and what FILE[:NAME] means."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[[str, str], Path]
TASK = "import flowlib as fl\n\n@fl.task\ndef one() -> int:\n    return 1\n"


def test_modules_beside_the_file_can_be_imported(command, write: Write, isolated: Path, tmp_path: Path) -> None:
    """The file's directory comes first on sys.path, from wherever the command is given."""
    write("study/numbers_here.py", "START = 41\n")
    path = write("study/flow_here.py", f"import numbers_here\n{TASK}".replace("return 1", "return numbers_here.START"))
    os.chdir(tmp_path)

    assert command("run", path, "--cache", tmp_path / "kept").out == "41\n"


def test_main_block_stays_asleep(command, write: Write) -> None:
    """The file is imported, not run as a script."""
    path = write("script.py", TASK + "\nif __name__ == '__main__':\n    raise SystemExit('ran as a script')\n")

    assert command("run", path).out == "1\n"


def test_edit_within_the_same_second_counts(command, write: Write) -> None:
    """Byte code files are not trusted: an edit of equal length right after a run is seen."""
    path = write("quick.py", TASK)
    before = os.stat(path)
    first = command("run", path)
    path.write_text(TASK.replace("return 1", "return 2"), "utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert (first.out, command("run", path).out) == ("1\n", "2\n")


def test_script_and_command_share_results(process, write: Write, isolated: Path) -> None:
    """What `python flow.py` computed, `flowlib run flow.py` reuses."""
    import subprocess

    path = write("shared.py", TASK + "\nif __name__ == '__main__':\n    fl.run(one(), progress=False)\n")
    subprocess.run([sys.executable, str(path)], check=True, cwd=isolated)

    assert "1 cached" in process("run", path, "--progress").err


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("latin.py", b'name = "caf\xe9"\n', ["latin.py:1", "utf-8", "Save the file as UTF-8"]),
        ("syntax.py", b"def f(:\n", ["syntax.py:1", "SyntaxError", "def f(:"]),
        ("null.py", b"x = 1\0\n", ["null.py", "null bytes"]),
        ("leaves.py", b"import sys\nsys.exit(7)\n", ["sys.exit(7)", "__main__"]),
        ("folder/inner.py", b"", ["folder is a directory", "inner.py"]),
        ("floww.py", b"", ["There is no file", "Did you mean 'floww.py'?"]),
    ],
)
def test_file_that_is_no_module_is_explained(
    command, isolated: Path, name: str, content: bytes, words: list[str]
) -> None:
    """Each way in which a file is not what it should be has its own sentence, and no traceback."""
    (isolated / name).parent.mkdir(exist_ok=True)
    (isolated / name).write_bytes(content)
    target = {"folder/inner.py": "folder", "floww.py": "flow.py"}.get(name, name)
    done = command("run", target)

    assert done.code == 3
    assert "Traceback" not in done.err
    assert all(word in done.err for word in words)


def test_file_in_a_directory_without_any_is_explained(command, isolated: Path) -> None:
    """Where no file could be meant, none is proposed."""
    (isolated / "empty").mkdir()
    done = command("run", "empty/flow.py")

    assert done.code == 3
    assert "There is no Python file in that directory." in done.err


def test_file_that_cannot_be_read_is_explained(command, write: Write) -> None:
    """The reason of the system is passed on."""
    path = write("loop.py", TASK)
    path.unlink()
    path.symlink_to(path)
    done = command("run", path)

    assert done.code == 3
    assert "cannot be read" in done.err


def test_file_with_the_name_of_a_used_module_is_refused(command, write: Write) -> None:
    """A file `json.py` would replace the module for everybody."""
    done = command("run", write("json.py", TASK))

    assert done.code == 3
    assert "Rename the file." in done.err


def test_flowlib_error_at_import_is_an_invalid_pipeline(command, write: Write) -> None:
    """A wrong option of a task is flowlib's refusal, with the user's line, not a failed import."""
    done = command("run", write("options.py", TASK.replace("@fl.task", "@fl.task(versoin='2')")))

    assert done.code == 4
    assert "Did you mean 'version'?" in done.err
    assert "raised at options.py:3" in done.err


TWO = TASK + "\n@fl.task\ndef two() -> int:\n    return 2\n"


@pytest.mark.parametrize(
    ("text", "out"),
    [
        (TASK, "1\n"),
        (TWO + "\ndef study():\n    return [one(), two()]\n", "[1, 2]\n"),
        (TWO + "\ndef pipeline():\n    return two()\ndef other():\n    return one()\n", "2\n"),
        (TWO + "\ndef study():\n    return two()\ndef main():\n    fl.run(study())\n", "2\n"),
        (TWO + "\nanswer = two()\n", "2\n"),
        (TWO + "\ndef _hidden():\n    return one()\ndef shown():\n    return two()\n", "2\n"),
    ],
    ids=["only-task", "only-function", "pipeline", "main-does-not-count", "only-node", "private-does-not-count"],
)
def test_name_may_be_left_out_when_one_is_meant(command, write: Write, text: str, out: str) -> None:
    """`pipeline`, else the only function that calls tasks, else the only node, else the only task."""
    assert command("run", write("named.py", text)).out == out


def test_several_names_are_listed(command, write: Write) -> None:
    """When several could be meant, none is guessed."""
    done = command("run", write("several.py", TWO))

    assert done.code == 2
    assert "several.py:one" in done.err
    assert "several.py:two" in done.err


def test_file_without_tasks_says_so(command, write: Write) -> None:
    """An ordinary module is no pipeline."""
    done = command("run", write("plain.py", "def f(): return 1\n"))

    assert done.code == 2
    assert "neither a task nor a function that returns nodes" in done.err


@pytest.mark.parametrize(("name", "out"), [("one", "1\n"), ("both", "[1, 2]\n"), ("node", "2\n"), ("_quiet", "1\n")])
def test_name_chooses_function_task_or_node(command, write: Write, name: str, out: str) -> None:
    """Whatever stands for nodes can be named."""
    text = TWO + "\ndef both():\n    return [one(), two()]\ndef _quiet():\n    return one()\nnode = two()\n"

    assert command("run", f"{write('many.py', text)}:{name}").out == out


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("bth", 2, "Did you mean 'both'?"), ("value", 4, "gives no node"), ("silent", 4, "gives no node")],
)
def test_name_that_stands_for_no_nodes_is_refused(command, write: Write, name: str, code: int, words: str) -> None:
    """An unknown name gets the nearest; a value and a function without nodes are told as what they are."""
    text = TWO + "\nvalue = 3\ndef both():\n    return [one(), two()]\ndef silent():\n    one()\n"
    done = command("run", f"{write('many.py', text)}:{name}")

    assert done.code == code
    assert words in done.err


def test_exception_while_building_shows_the_users_traceback(command, write: Write) -> None:
    """A mistake in the function that builds the graph is the user's own, with all their frames."""
    done = command(
        "plan", write("raises.py", TASK + "\ndef pipeline():\n    one()\n    raise ValueError('bad plan')\n")
    )

    assert done.code == 4
    assert 'raises.py", line 9, in pipeline' in done.err
    assert "ValueError: bad plan" in done.err
    assert "building.py" not in done.err


def test_task_that_is_the_target_is_placed_in_the_users_file(command, write: Write) -> None:
    """The call that the command makes is shown where the task is written, not inside flowlib."""
    done = command("why", write("alone.py", TASK))

    assert "one at alone.py:3: would run" in done.out
