"""`flowlib plan`: what would run, as text and as data."""

from collections.abc import Callable
from pathlib import Path


def test_plan_runs_nothing(command, flow: Path) -> None:
    """Looking does not run a task, twice."""
    first, second = command("plan", flow), command("plan", flow)

    assert first.out == second.out
    assert first.out.splitlines()[0] == "Plan: 0 cached, 1 to run, 1 undecided"
    assert "adding up" not in first.out + first.err


def test_plan_takes_the_options_of_the_pipeline(command, flow: Path) -> None:
    """Another argument makes another plan, with the difference as its reason."""
    command("run", flow)
    done = command("plan", flow, "--scale", "2.0")

    assert "argument changed: scale: 1.0 -> 2.0" in done.out


def test_plan_as_json_has_a_row_for_each_node(command, flow: Path) -> None:
    """Programs get decisions and reasons by name."""
    command("run", flow)
    document = command("plan", flow, "--scale", "2.0", "--json").document

    assert document["schema"] == "flowlib.plan/1"
    assert (document["n_cached"], document["n_to_run"], document["n_undecided"]) == (1, 1, 0)
    assert [node["decision"] for node in document["nodes"]] == ["cached", "run"]
    reason = {"kind": "argument changed", "subject": "scale", "old": "1.0", "new": "2.0"}
    assert document["nodes"][1]["reasons"] == [reason]


def test_check_of_a_changed_pipeline_exits_with_5(command, flow: Path) -> None:
    """The exit code follows the code, with JSON as well."""
    command("run", flow)
    flow.write_text(flow.read_text().replace("sum(numbers) * scale", "sum(numbers) + scale"))

    assert command("plan", flow, "--check").code == 5
    assert command("plan", flow, "--check", "--json").code == 5


def test_forced_task_is_in_the_plan(command, flow: Path) -> None:
    """`--force` means the same as for `run`."""
    command("run", flow)

    assert "forced" in command("plan", flow, "--force", "load").out


def test_unusable_cache_is_said(command, flow: Path, isolated: Path) -> None:
    """A plan without the cache that was meant would otherwise look like lost results."""
    (isolated / "kept").write_text("a file")
    done = command("plan", flow, "--cache", "kept")

    assert done.code == 0
    assert "note: The cache directory cannot be used." in done.err
    assert "cache off" in done.out


def test_plan_makes_no_results(command, flow: Path, write: Callable[[str, str], Path]) -> None:
    """After a plan, nothing is kept."""
    command("plan", flow)

    assert command("cache", "ls", "--json").document["results"] == []
