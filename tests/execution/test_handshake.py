"""What workers have is compared before the first task goes there."""

import pickle
from typing import Any

import pytest

import flowlib as fl
from flowlib.errors import ClusterTrouble
from flowlib.execution import handshake, onsite
from flowlib.execution.handshake import compare, needed, probe
from flowlib.execution.onsite import Order, Token
from tests.contracts.lent import CLUSTERS, lent

HERE = {"Python": "3.11", "flowlib": "1.0", "numpy": "2.4.6"}


def test_workers_that_fit_are_taken() -> None:
    """What else they have is nobody's business."""
    compare("the cluster", HERE, {"a": {**HERE, "more": "1"}})


def test_workers_that_do_not_fit_are_told_in_a_table() -> None:
    """Each difference once, with who has what."""
    others = {f"tcp://{number}": {**HERE, "numpy": "1.26.0"} for number in range(5)}
    with pytest.raises(ClusterTrouble) as caught:
        compare("the cluster", HERE, {"tcp://x": {**HERE, "flowlib": ""}, **others, "tcp://y": HERE})
    assert str(caught.value).splitlines()[:-1] == [
        "The workers of the cluster do not fit this program.",
        "  flowlib  1.0          here",
        "           none         on tcp://x",
        "  numpy    2.4.6        here",
        "           1.26.0       on tcp://0, tcp://1, tcp://2 and 2 more",
    ]


def test_a_cluster_without_workers_is_refused() -> None:
    """Nobody waits for ever for workers that do not come."""
    with pytest.raises(ClusterTrouble, match="No worker of the cluster answers"):
        compare("the cluster", HERE, {})


def test_the_probe_needs_nothing_that_is_ours() -> None:
    """It travels by value, and answers for packages that are not there."""
    cloudpickle = pytest.importorskip("cloudpickle")
    data = cloudpickle.dumps(probe())
    assert b"flowlib" not in data
    found = pickle.loads(data)(["numpy", "no-such-package"])
    assert set(found) == {"Python", "numpy", "no-such-package"}
    assert (found["Python"], found["no-such-package"]) == (needed({})["Python"], "")


def test_an_order_of_another_version_is_not_opened() -> None:
    """A worker that joined late says what it has instead of guessing what the bytes mean."""
    order = pickle.loads(Order(ticket="t", message=b"not a parcel", is_batch=False).packed())
    changed = pickle.dumps((("3.11", "99.0", order[0][2]), *order[1:]))
    reply = pickle.loads(onsite.perform(changed))
    assert reply.answers == ()
    assert "flowlib 99.0 is asked for" in reply.trouble


def test_a_token_is_seen_only_with_its_own_text(tmp_path: Any) -> None:
    """A directory of the same name on another machine is another directory."""
    path = tmp_path / "seen"
    path.write_text("mine")
    assert onsite.sees(Token(str(path), "mine"))
    assert not onsite.sees(Token(str(path), "theirs"))
    assert not onsite.sees(Token(str(tmp_path / "none"), "mine"))


def test_a_reply_that_is_too_large_is_replaced_by_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds on the way back, too."""
    monkeypatch.setattr(onsite, "MOST_BYTES", 10)
    reply = pickle.loads(onsite.told_in_size(onsite.Reply(answers=(b"x" * 11,))))
    assert (reply.answers, reply.trouble) == ((), "too large")


@pytest.mark.clusters
@pytest.mark.parametrize("name", CLUSTERS)
def test_no_task_runs_where_versions_differ(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends with the table; nothing has been begun."""
    executor = lent(name)
    monkeypatch.setattr(handshake, "versions", lambda: ("3.11", "99.0", "0.1"))
    log = fl.testing.EventLog()
    with pytest.raises(ClusterTrouble, match=r"do not fit(.|\n)*flowlib +99.0"):
        fl.run(fl.task(lambda: 1)(), executor=executor, cache=False, progress=False, observers=[log])
    assert log.finished == []


@pytest.mark.clusters
def test_a_cluster_is_found_by_its_address(tmp_path: Any) -> None:
    """`dask://` and the host and port of its scheduler."""
    address = lent("dask").scheduler.address.replace("tcp://", "dask://")
    task = fl.task(lambda x: x + 1)
    assert fl.run(task(task(1)), executor=address, cache=tmp_path, progress=False) == 3


@pytest.mark.clusters
def test_a_cluster_that_is_not_there_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the address, and how to start one."""
    from flowlib.execution import on_dask

    monkeypatch.setattr(on_dask, "CONNECT_S", 0.5)
    with pytest.raises(ClusterTrouble, match=r"no Dask cluster(.|\n)*127.0.0.1:9"):
        fl.run(fl.task(lambda: 1)(), executor="dask://127.0.0.1:9", cache=False, progress=False)
