"""A script's classes load whether the file was run or imported, and never as a second copy."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
import attrs
import flowlib as fl
from flowlib.testing import EventLog

@attrs.frozen
class Report:
    n: int

@fl.task
def make(n: int) -> Report:
    return Report(n)

@fl.task
def check(report: Report) -> bool:
    return type(report) is Report

def pipeline(n: int = 1):
    return make(n), check(make(n))

if __name__ == "__main__":
    log = EventLog()
    report, same = fl.run(pipeline(), cache="cache", progress=False, observers=[log])
    print(report.n, type(report) is Report, same, log.ran)
"""
IMPORTED = """
import flowlib as fl, study
from flowlib.testing import EventLog
log = EventLog()
report, same = fl.run(study.pipeline(), cache="cache", progress=False, observers=[log])
print(report.n, type(report) is study.Report, same, log.ran)
"""


def _python(*args: str) -> str:
    return subprocess.run([sys.executable, *args], check=True, capture_output=True, text=True).stdout.strip()


def test_a_script_and_its_import_share_results(isolated: Path) -> None:
    """What one stores the other loads, as an instance of the class that is there."""
    (isolated / "study.py").write_text(SCRIPT)
    (isolated / "importer.py").write_text(IMPORTED)

    assert _python("study.py") == "1 True True ['make', 'check']"
    assert _python("importer.py") == "1 True True []"
    assert _python("study.py") == "1 True True []"


def test_an_import_first_then_the_script(isolated: Path) -> None:
    """The other direction: stored under the module's name, loaded by the running script."""
    (isolated / "study.py").write_text(SCRIPT)
    (isolated / "importer.py").write_text(IMPORTED)

    assert _python("importer.py") == "1 True True ['make', 'check']"
    assert _python("study.py") == "1 True True []"
