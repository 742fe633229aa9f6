"""Read handwritten digits: two families of models, three folds, and a vote of the five best.

    python examples/digits_sweep.py
    flowlib run examples/digits_sweep.py --depth-max 9     # grow the sweep: only the new points run

Run it twice: the second run trains nothing and loads nothing but the report. The tasks import scikit-learn when they
run, so a run that reads everything from the cache does not wait for it.
"""

import time
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

import flowlib as fl

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@attrs.frozen
class Images:
    """Grey values of 8 x 8 pixels, one row for each image, and the digits they show."""

    pixels: Floats
    digits: Ints


@attrs.frozen
class Fold:
    """Rows to learn from and rows to be examined on."""

    learn: Ints
    examine: Ints


@attrs.frozen
class Score:
    """How one model did on one fold."""

    accuracy: float


@attrs.frozen
class Report:
    """What the sweep found."""

    best: dict[str, object]
    fold_accuracy: float
    best_accuracy: float
    vote_accuracy: float
    picture: fl.File


@fl.task
def load(*, test_share: float, seed: int) -> tuple[Images, Images]:
    """Load the images that come with scikit-learn; keep a share for the final test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, digits = load_digits(return_X_y=True)
    parts = train_test_split(pixels / 16, digits, test_size=test_share, random_state=seed, stratify=digits)
    return Images(parts[0], parts[2]), Images(parts[1], parts[3])


@fl.task
def split(images: Images, *, k: int, seed: int) -> list[Fold]:
    """Deal the images into k folds with equal shares of each digit."""
    from sklearn.model_selection import StratifiedKFold

    folds = StratifiedKFold(k, shuffle=True, random_state=seed)
    return [Fold(learn, examine) for learn, examine in folds.split(images.pixels, images.digits)]


def learn(images: Images, family: str, C: float = 1.0, gamma: float = 0.1, depth: int = 8, trees: int = 20) -> Any:
    """Train one model."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.svm import SVC

    model = SVC(C=C, gamma=gamma) if family == "svm" else RandomForestClassifier(trees, max_depth=depth, random_state=0)
    return model.fit(images.pixels, images.digits)


@fl.task
def evaluate(
    images: Images,
    folds: list[Fold],
    *,
    fold: int,
    family: str,
    C: float = 1.0,
    gamma: float = 0.1,
    depth: int = 8,
    trees: int = 20,
) -> Score:
    """Train on one part of a fold, count the right answers on the other."""
    rows = folds[fold]
    known = Images(images.pixels[rows.learn], images.digits[rows.learn])
    model = learn(known, family, C, gamma, depth, trees)
    return Score(float(model.score(images.pixels[rows.examine], images.digits[rows.examine])))


@fl.task
def read(known: Images, unknown: Images, five: fl.Top[fl.Mean], *, place: int) -> Ints:
    """Train one of the five best models on all known images and read the unknown ones."""
    readings: Ints = learn(known, **five[place].params).predict(unknown.pixels)
    return readings


@fl.task
def draw(truth: Ints, answer: Ints, *, path: Path) -> fl.File:
    """Draw which digits were taken for which."""
    from matplotlib.figure import Figure

    counts = np.zeros((10, 10), dtype=int)
    np.add.at(counts, (truth, answer), 1)
    axes = (figure := Figure(figsize=(5, 5), layout="constrained")).add_subplot(
        title="What the vote read", xlabel="answer", ylabel="truth", xticks=range(10), yticks=range(10)
    )
    axes.imshow(np.log1p(counts), cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, count or "", ha="center", va="center", color="white" if row == column else "black")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return fl.File(path)


@fl.task
def report(truth: Ints, five: fl.Top[fl.Mean], readings: list[Ints], vote: Ints, picture: fl.File) -> Report:
    """Compare the best model with the vote on images that neither has seen."""
    return Report(
        best=five[0].params,
        fold_accuracy=five[0].score,
        best_accuracy=float(np.mean(readings[0] == truth)),
        vote_accuracy=float(np.mean(vote == truth)),
        picture=picture,
    )


def pipeline(*, depth_max: int = 8, folds: int = 3, seed: int = 0, picture: Path = Path("digits.png")) -> Report:
    """Describe the study: 24 models on every fold. Nothing runs here."""
    known, unknown = load(test_share=0.2, seed=seed)

    svms = fl.grid(family=["svm"], C=[0.3, 1.0, 3.0, 10.0], gamma=[0.01, 0.03, 0.1])
    forests = fl.grid(family=["forest"], depth=list(range(5, depth_max + 1)), trees=[5, 10, 20])
    points = (svms | forests) * fl.grid(fold=range(folds))

    scores = fl.fan_out(evaluate, known, split(known, k=folds, seed=seed), over=points)
    means = fl.fan_in(scores, fl.mean("accuracy"), along="fold")
    five = fl.fan_in(means, fl.top(5, max="accuracy.mean"))

    readings = fl.fan_out(read, known, unknown, five, over=fl.grid(place=range(5)))
    vote = fl.fan_in(readings, fl.vote()).winner
    truth = unknown.digits
    return report(truth, five, fl.fan_in(readings, fl.collect()), vote, draw(truth, vote, path=picture))


def main() -> None:
    """Run the study and say what came out."""
    target = pipeline()
    before = fl.plan(target)
    begin = time.perf_counter()
    found = fl.run(target)
    took_s = time.perf_counter() - begin
    print(f"best model     {', '.join(f'{name}={value}' for name, value in found.best.items())}")
    print(f"on the folds   {found.fold_accuracy:.2%} right")
    print(f"on new images  {found.best_accuracy:.2%} right alone, {found.vote_accuracy:.2%} by vote of the five best")
    print(f"picture        {found.picture.path}")
    if before.n_to_run == 0:
        print(f"Second run: nothing ran. Everything was read from the cache in {took_s:.2f} s.")
    else:
        print(f"First run: {took_s:.1f} s. Run it again.")


if __name__ == "__main__":
    main()
