"""Measure every file of a folder: as many as are found, at most ten at once, and a bad file spoils nothing.

    find -> measure, measure, measure, ... -> add_up
                                           -> write_table (if asked for)

    python examples/batch.py
    flowlib run examples/batch.py --folder . --pattern "*.py" --export sizes.csv

Results are kept by the content of each file: add or edit one, and only that one is measured again. What failed is tried
again in every run, since a failure is never kept as a result.
"""

import ast
import csv
import email
from collections.abc import Sequence
from pathlib import Path

import attrs

import flowlib as fl
from flowlib.testing import EventLog

STANDARD_LIBRARY_EMAIL = Path(email.__file__).parent
AT_ONCE = 10


@attrs.frozen
class Size:
    """How much code a file holds."""

    file: str
    lines: int
    functions: int
    documented: int


@attrs.frozen
class Batch:
    """The folder as a whole, and what could not be measured."""

    files: int
    lines: int
    functions: int
    documented: int
    failed: dict[str, str]
    table: fl.File | None


@fl.task(cache=False)
def find(folder: Path, pattern: str) -> list[fl.File]:
    """List the files. Not cached: only looking again can tell whether there are new ones."""
    return [fl.File(path) for path in sorted(folder.glob(pattern)) if path.is_file()]


@fl.task
def measure(*, file: fl.File) -> Size:
    """Count lines and functions of one file; text that is not Python is an error."""
    text = file.read_text()
    functions = [node for node in ast.walk(ast.parse(text, file.name)) if isinstance(node, ast.FunctionDef)]
    documented = sum(ast.get_docstring(function) is not None for function in functions)
    return Size(file.name, len(text.splitlines()), len(functions), documented)


@fl.task
def write_table(results: Sequence[Size | fl.Failed], *, path: Path) -> fl.File:
    """Write one row for each file that could be measured, the longest first."""
    sizes = [size for size in results if isinstance(size, Size)]
    with path.open("w", newline="", encoding="utf-8") as target:
        table = csv.writer(target)
        table.writerow(field.name for field in attrs.fields(Size))
        table.writerows(attrs.astuple(size) for size in sorted(sizes, key=lambda size: -size.lines))
    return fl.File(path)


@fl.task
def add_up(results: Sequence[Size | fl.Failed], table: fl.File | None) -> Batch:
    """Sum over the files that could be measured, and list the others with their errors."""
    sizes = [size for size in results if isinstance(size, Size)]
    failures = [failed for failed in results if isinstance(failed, fl.Failed)]
    return Batch(
        files=len(sizes),
        lines=sum(size.lines for size in sizes),
        functions=sum(size.functions for size in sizes),
        documented=sum(size.documented for size in sizes),
        failed={failed.params["file"].name: f"{failed.error_type}: {failed.message}" for failed in failures},
        table=table,
    )


def pipeline(*, folder: Path = STANDARD_LIBRARY_EMAIL, pattern: str = "*.*", export: Path | None = None) -> Batch:
    """Describe the batch: every file, the sums, and the table if asked for. Nothing runs here."""
    files = fl.axis(file=find(folder, pattern))
    jobs = fl.fan_out(measure, over=files, limit=AT_ONCE, on_error="keep")
    results = fl.fan_in(jobs, fl.collect(errors="include"))
    return add_up(results, write_table(results, path=export) if export else None)


def main() -> None:
    """Measure the standard library's `email` package and show what could not be read."""
    log = EventLog()
    batch = fl.run(pipeline(export=Path("sizes.csv")), observers=[log])
    print(
        f"{batch.files} files measured, {AT_ONCE} at once: {batch.lines} lines, {batch.functions} functions, ", end=""
    )
    print(f"{batch.documented / batch.functions:.0%} of them with a docstring")
    for name, error in batch.failed.items():
        print(f"not measured  {name}: {error}")
    print(f"table         {batch.table.path if batch.table else 'not asked for'}")
    n_tried = log.ran.count("measure")
    if n_tried == len(batch.failed):
        print(f"Second run: nothing ran but the listing of the folder and another try of {n_tried} bad file.")


if __name__ == "__main__":
    main()
