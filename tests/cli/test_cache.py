"""`flowlib cache`: looking after the kept results."""

from pathlib import Path

import pytest

from flowlib.cli.cache import parse_bytes, parse_seconds
from flowlib.errors import UsageError

BIG = "import flowlib as fl\n\n@fl.task\ndef big(n: int = 1) -> bytes:\n    return bytes(100_000 + n)\n"


def kept(command) -> list[str]:
    """Return the tasks of the kept results."""
    return sorted(result["task"] for result in command("cache", "ls", "--json").document["results"])


def test_ls_lists_what_was_kept(command, flow: Path) -> None:
    """One line for each result, with the beginning of its key."""
    command("run", flow)
    done = command("cache", "ls")

    assert done.code == 0
    assert [line.split()[1] for line in done.out.splitlines()] == ["task", *reversed(["load", "total"])]
    assert kept(command) == ["load", "total"]


def test_ls_of_one_task(command, flow: Path) -> None:
    """`--task` chooses; a misspelt one gets the nearest."""
    command("run", flow)

    assert command("cache", "ls", "--task", "load").out.count("\n") == 2
    done = command("cache", "ls", "--task", "laod")
    assert (done.code, "Did you mean 'load'?" in done.err) == (2, True)


@pytest.mark.parametrize("verb", ["ls", "size", "verify", "repair", "gc", "trust"])
def test_project_without_a_cache_is_no_error(command, isolated: Path, verb: str) -> None:
    """A fresh checkout has none yet; looking does not make one."""
    done = command("cache", verb)

    assert done.code == 0
    assert "There is no cache at .flowlib yet." in done.err
    assert not (isolated / ".flowlib").exists()


@pytest.mark.parametrize("verb", ["ls", "size", "verify", "repair", "gc", "trust"])
def test_named_directory_has_to_be_a_cache(command, isolated: Path, verb: str) -> None:
    """A mistyped directory is an error, and stays as it is."""
    done = command("cache", verb, "--cache", "nowhere")

    assert done.code == 6
    assert "This is not a cache of flowlib." in done.err
    assert not (isolated / "nowhere").exists()


def test_size_sums_up(command, flow: Path) -> None:
    """The parts are shown, and their sum."""
    command("run", flow)
    document = command("cache", "size", "--json").document
    parts = [value for name, value in document.items() if name.endswith("_bytes") and name != "total_bytes"]

    assert document["n_entries"] == 2
    assert document["total_bytes"] == sum(parts) > 0
    assert command("cache", "size").out.splitlines()[-1].startswith("all")


def test_verify_finds_damage_and_repair_mends_it(command, write, isolated: Path) -> None:
    """Damage exits with 6 until it is repaired; then the result is computed again."""
    path = write("big.py", BIG)
    command("run", path, "--json")
    sound = command("cache", "verify")
    (blob,) = [file for file in (isolated / ".flowlib" / "blobs").rglob("*") if file.is_file()]
    blob.chmod(0o600)
    blob.write_bytes(b"x" + blob.read_bytes()[1:])
    damaged = command("cache", "verify")
    as_data = command("cache", "verify", "--json")
    repaired = command("cache", "repair")
    after = command("cache", "verify")

    assert (sound.code, damaged.code, as_data.code, repaired.code, after.code) == (0, 6, 6, 0, 0)
    assert "damaged: value xxh3-" in damaged.out
    assert as_data.document["is_sound"] is False
    assert kept(command) == []


def test_rm_of_a_task(command, flow: Path) -> None:
    """The results of one task go without a question."""
    command("run", flow)
    done = command("cache", "rm", "load")

    assert (done.code, done.out) == (0, "removed 1 result of load\n")
    assert kept(command) == ["total"]


def test_rm_by_the_beginning_of_a_key(command, flow: Path) -> None:
    """Keys are given as `ls` shows them."""
    command("run", flow)
    key = command("cache", "ls", "--task", "total").out.splitlines()[1].split()[0]
    command("cache", "rm", key)

    assert kept(command) == ["load"]


def test_rm_of_several_tasks_wants_yes(command, flow: Path) -> None:
    """Nothing is asked: without --yes nothing goes."""
    command("run", flow)
    refused = command("cache", "rm", "load", "total")

    assert (refused.code, kept(command)) == (2, ["load", "total"])
    assert "Add --yes" in refused.err
    assert command("cache", "rm", "load", "total", "--yes").code == 0
    assert kept(command) == []


def test_rm_dry_run_removes_nothing(command, flow: Path) -> None:
    """It says what would go."""
    command("run", flow)
    done = command("cache", "rm", "load", "total", "--dry-run", "--json")

    assert (done.code, len(done.document["keys"])) == (0, 2)
    assert kept(command) == ["load", "total"]


@pytest.mark.parametrize("names", [(), ("laod",), ("abc",), ("0123456789",), ("load", "nothing")])
def test_rm_of_what_is_not_there_removes_nothing(command, flow: Path, names: tuple[str, ...]) -> None:
    """No name, an unknown one, too short a key: each is wrong use, and nothing goes."""
    command("run", flow)

    assert command("cache", "rm", *names).code == 2
    assert kept(command) == ["load", "total"]


def test_gc_by_age_and_size(command, flow: Path) -> None:
    """Limits choose; a dry run only tells."""
    command("run", flow)

    assert command("cache", "gc", "--older-than", "1d").out.startswith("removed 0 results")
    assert command("cache", "gc", "--max-size", "0", "--dry-run").out.startswith("would remove 2 results")
    assert kept(command) == ["load", "total"]
    assert command("cache", "gc", "--max-size", "0").out.startswith("removed 2 results")
    assert kept(command) == []


def test_gc_of_what_no_recorded_run_used(command, flow: Path, isolated: Path) -> None:
    """A result stays while the log of a run that used it stays."""
    command("run", flow)
    (first,) = (isolated / ".flowlib" / "runs").iterdir()
    command("run", flow, "--scale", "3.0")
    first.unlink()
    done = command("cache", "gc", "--unreachable")

    assert done.out.startswith("removed 1 result")
    assert kept(command) == ["load", "total"]
    assert command("plan", flow, "--scale", "3.0", "--check").code == 0


def test_gc_by_reach_needs_a_record(command, flow: Path, isolated: Path) -> None:
    """Without any log, everything would look unused; that is refused."""
    command("run", flow)
    for log in (isolated / ".flowlib" / "runs").iterdir():
        log.unlink()

    assert command("cache", "gc", "--unreachable").code == 2
    assert kept(command) == ["load", "total"]


def test_foreign_cache_is_inert_until_trusted(command, flow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results made with another key are found after `cache trust`, not before."""
    monkeypatch.setenv("FLOWLIB_CACHE_KEY", "theirs")
    command("run", flow)
    monkeypatch.setenv("FLOWLIB_CACHE_KEY", "ours")

    assert kept(command) == []
    assert "made with another key" in command("cache", "verify").out
    assert command("cache", "trust").out == "adopted 2 results\n"
    assert kept(command) == ["load", "total"]


def test_cache_that_is_off_has_nothing_to_look_after(command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings are respected."""
    monkeypatch.setenv("FLOWLIB_CACHE", "off")

    assert command("cache", "ls").code == 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15min", 900), ("12h", 43_200), ("30d", 2_592_000), ("1w", 604_800)]
)
def test_durations(text: str, seconds: float) -> None:
    """Units are words people write."""
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "n_bytes"), [("10", 10), ("5kB", 5_000), ("1.5MB", 1_500_000), ("10GB", 10**10), ("1GiB", 2**30)]
)
def test_sizes(text: str, n_bytes: int) -> None:
    """Decimal units as disks are sold, binary ones when written so."""
    assert parse_bytes(text) == n_bytes


@pytest.mark.parametrize("text", ["", "d", "30", "30x", "-3d", "1e3s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Nothing is guessed: a number without a unit could mean anything."""
    with pytest.raises(UsageError):
        parse_seconds(text)


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "10XB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(UsageError):
        parse_bytes(text)
