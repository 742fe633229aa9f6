"""Executors and clusters that tests lend to flowlib: made once, because starting one takes seconds, and never shut by it."""

import atexit
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest

CLUSTERS = ["dask", "ray"]


def marked(kinds: list[str]) -> list[Any]:
    """Return parameters, those that need a cluster with the marker `clusters`."""
    return [pytest.param(kind, marks=pytest.mark.clusters) if kind in CLUSTERS else kind for kind in kinds]


@cache
def lent_threads() -> ThreadPoolExecutor:
    """Return a pool of threads."""
    return ThreadPoolExecutor(4)


def new_processes() -> ProcessPoolExecutor:
    """Return a pool of processes, started afresh: a fork of a program with threads may hang."""
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


@cache
def lent_processes() -> ProcessPoolExecutor:
    """Return a pool of processes that many tests use."""
    pool = new_processes()
    atexit.register(pool.shutdown)
    return pool


@cache
def dask_client() -> Any:
    """Return a client of a Dask cluster with two worker processes."""
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0)
    client = distributed.Client(cluster, set_as_default=False)
    atexit.register(cluster.close)
    atexit.register(client.close)
    return client


@cache
def ray_started() -> Any:
    """Return ray, started with two processors."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
    return ray


def lent(kind: str) -> Any:
    """Return what `executor=` of a run takes for a kind."""
    if kind == "pool of threads":
        return lent_threads()
    if kind == "pool of processes":
        return lent_processes()
    if kind == "dask":
        return dask_client()
    if kind == "ray":
        ray_started()
    return kind


def lent_cluster(kind: str) -> Any:
    """Return the cluster that orders go to for a kind."""
    executor = lent(kind)
    if kind == "pool of processes":
        from flowlib.execution.on_futures import FutureCluster

        return FutureCluster(executor)
    if kind == "dask":
        from flowlib.execution.on_dask import open_dask

        return open_dask(executor, 0, {})
    from flowlib.execution.on_ray import open_ray

    return open_ray("ray", 0, {})
