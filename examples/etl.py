"""Extract, transform, load: a real table of 178 Italian wines, as it comes with scikit-learn.

    table (a File) -> clean -> typical (aggregate) -> unusual (join back) -> report (a File)

    python examples/etl.py
    flowlib run examples/etl.py --source my-wines.csv --worst 10

The source counts by content: touch or move the file and nothing runs; change one number and everything behind it does.
"""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd

import flowlib as fl

SKLEARN = find_spec("sklearn")  # found, not imported: only the table that comes with it is of interest
WINES = Path(str(SKLEARN and SKLEARN.origin)).parent / "datasets" / "data" / "wine_data.csv"
MEASURES = [
    "alcohol", "malic_acid", "ash", "alcalinity", "magnesium", "phenols", "flavanoids", "other_phenols",
    "proanthocyanins", "colour", "hue", "dilution", "proline",
]  # fmt: skip
GRAPES = {0: "Barolo", 1: "Grignolino", 2: "Barbera"}


@fl.task
def extract(source: fl.File) -> pd.DataFrame:
    """Read the raw table; its first line counts rows and columns instead of naming them."""
    return pd.read_csv(source, skiprows=1, names=[*MEASURES, "grape"])


@fl.task
def clean(raw: pd.DataFrame) -> pd.DataFrame:
    """Name the grapes, drop rows with gaps or impossible values, number the bottles."""
    known = raw.dropna().assign(grape=raw["grape"].map(GRAPES))
    possible = known[known["grape"].notna() & (known[MEASURES] > 0).all(axis=1)]
    return possible.reset_index(drop=True).rename_axis("bottle").reset_index()


@fl.task
def typical(wines: pd.DataFrame) -> pd.DataFrame:
    """Return mean and spread of every measure for each grape."""
    return wines.groupby("grape")[MEASURES].agg(["mean", "std"])


@fl.task
def unusual(wines: pd.DataFrame, norms: pd.DataFrame, *, worst: int) -> pd.DataFrame:
    """Join each bottle with its grape's norms; return those that lie farthest from them."""
    long = wines.melt(["bottle", "grape"], MEASURES, "measure")
    joined = long.merge(norms.stack(0, future_stack=True).rename_axis(["grape", "measure"]).reset_index())
    joined["spreads"] = (joined["value"] - joined["mean"]) / joined["std"]
    return joined.sort_values("spreads", key=abs, ascending=False).head(worst).reset_index(drop=True)


@fl.task
def write_report(norms: pd.DataFrame, odd: pd.DataFrame, *, path: Path) -> fl.File:
    """Write what a wine merchant wants to read."""
    alcohol = [f"{grape:<12} {row['mean']:.1f} % alcohol" for grape, row in norms["alcohol"].iterrows()]
    bottles = [
        f"bottle {row.bottle:>3} ({row.grape}): {row.measure} {row.value:g}, {row.spreads:+.1f} spreads from usual"
        for row in odd.itertuples()
    ]
    path.write_text("\n".join([*alcohol, "", "Worth a second look:", *bottles, ""]), "utf-8")
    return fl.File(path)


def pipeline(*, source: Path = WINES, worst: int = 5, report: Path = Path("wines.txt")) -> fl.File:
    """Describe the flow from the table to the report. Nothing runs here."""
    wines = clean(extract(fl.File(source)))
    norms = typical(wines)
    return write_report(norms, unusual(wines, norms, worst=worst), path=report)


def main() -> None:
    """Write the report and show it."""
    target = pipeline()
    before = fl.plan(target)
    print(Path(fl.run(target)).read_text("utf-8"))
    if before.n_to_run == 0:
        print("Second run: nothing ran, the report was there.")


if __name__ == "__main__":
    main()
