"""Several processes on one cache, killed at random while values vanish on disk: every value that comes out is right."""

import random
from pathlib import Path

import pytest

from tests.engine.programs import Program

PROGRAM = """
import faulthandler, os, random, sys, warnings
from pathlib import Path
import flowlib as fl
from flowlib.testing import plain_value
from tests.laws.test_random_trouble import Vandal, targets

warnings.simplefilter("ignore")
faulthandler.dump_traceback_later(300, exit=True)
cache, chooser = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
while True:
    seed, n_nodes = chooser.randint(0, 6), chooser.randint(2, 18)
    expected = plain_value(targets(seed, n_nodes))
    vandals = [Vandal(cache, chooser.randint(0, 999), 0.2)] if chooser.random() < 0.3 else []
    executor, workers = chooser.choice(["threads", "inline"]), chooser.randint(1, 3)
    value = fl.run(
        targets(seed, n_nodes), cache=cache, executor=executor, workers=workers, progress=False, observers=vandals
    )
    print("right" if value == expected else f"wrong {seed} {n_nodes}", flush=True)
"""


@pytest.mark.slow
def test_processes_that_are_killed_leave_no_wrong_value(tmp_path: Path) -> None:
    """Three programs run random graphs on one cache; one of them is killed again and again."""
    chooser = random.Random(1)
    seeds = iter(range(1000))

    def begin() -> Program:
        seed = next(seeds)
        (tmp_path / str(seed)).mkdir()
        path = tmp_path / "program.py"
        return Program(path, PROGRAM, tmp_path / "cache", seed, env={"FLOWLIB_CACHE": "off"}, cwd=tmp_path / str(seed))

    programs = [begin() for _ in range(3)]
    n_runs = 0
    try:
        for _ in range(40):
            which = chooser.randrange(3)
            for _ in range(chooser.randint(0, 20)):
                program = chooser.choice(programs)
                assert program.expect("") == "right"
                n_runs += 1
            programs[which].kill()
            programs[which].__exit__()
            programs[which] = begin()
    finally:
        for program in programs:
            program.__exit__()
    assert n_runs > 200
