"""Measure every file of a folder: as many as are found, at most ten at once, and a bad file spoils nothing.

    python examples/batch.py
    flowlib run examples/batch.py --folder . --export sizes.csv

Results are kept by the content of each file: add or edit one, and only that one is measured again.
"""

import ast
import csv
import email
from pathlib import Path

import attrs

import flowlib as fl

STANDARD_LIBRARY_EMAIL = Path(email.__file__).parent


@attrs.frozen
class Size:
    """How much code a file holds."""

    file: str
    lines: int
    functions: int
    documented: int


@attrs.frozen
class Total:
    """The folder as a whole."""

    files: int
    lines: int
    functions: int
    documented_share: float


@fl.task(cache=False)
def find(folder: Path, pattern: str) -> list[fl.File]:
    """List the files. Not cached: only looking again can tell whether there are new ones."""
    return [fl.File(path) for path in sorted(folder.glob(pattern)) if path.is_file()]


@fl.task
def measure(*, file: fl.File) -> Size:
    """Count lines and functions of one file; text that is not Python is an error, and is kept as one."""
    path = Path(file)
    text = path.read_text("utf-8")
    functions = [node for node in ast.walk(ast.parse(text, path.name)) if isinstance(node, ast.FunctionDef)]
    documented = sum(ast.get_docstring(function) is not None for function in functions)
    return Size(path.name, len(text.splitlines()), len(functions), documented)


@fl.task
def add_up(sizes: list[Size]) -> Total:
    """Sum over the files that could be measured."""
    functions = sum(size.functions for size in sizes)
    return Total(
        files=len(sizes),
        lines=sum(size.lines for size in sizes),
        functions=functions,
        documented_share=sum(size.documented for size in sizes) / max(functions, 1),
    )


@fl.task
def write_table(sizes: list[Size], *, path: Path) -> fl.File:
    """Write one row for each file, the longest first."""
    with path.open("w", newline="", encoding="utf-8") as target:
        table = csv.writer(target)
        table.writerow(field.name for field in attrs.fields(Size))
        table.writerows(attrs.astuple(size) for size in sorted(sizes, key=lambda size: -size.lines))
    return fl.File(path)


def pipeline(
    *, folder: Path = STANDARD_LIBRARY_EMAIL, pattern: str = "*.*", export: Path | None = None
) -> tuple[fl.FanOut[Size], Total, fl.File | None]:
    """Describe the batch: every file, the total, and the table if asked for. Nothing runs here."""
    jobs = fl.fan_out(measure, over=fl.axis(file=find(folder, pattern)), limit=10, on_error="keep", min_ok=0)
    total = fl.fan_in(jobs, add_up)
    table = write_table(fl.fan_in(jobs, fl.collect()), path=export) if export else None
    return jobs, total, table


def main() -> None:
    """Measure the standard library's `email` package and show what could not be read."""
    results, total, table = fl.run(pipeline(export=Path("sizes.csv")))
    print(f"{total.files} files, {total.lines} lines, {total.functions} functions")
    print(f"{total.documented_share:.0%} of the functions have a docstring; table in {table}")
    for failed in results.failed:
        print(f"not measured: {Path(failed.params['file']).name}: {failed.error}")
    if results.n_ran == 0:
        print("Second run: nothing ran but the listing of the folder.")


if __name__ == "__main__":
    main()
