"""Samples that sequential certification saves, simulated with class probabilities from public logs.

    python -m benchmarks.adaptive tests/data/certify_logs [--repeats 20] [--output docs/benchmarks/adaptive.json]

From a log with a fixed n, the probability p of the top class of each image is estimated: the count that gives its
radius, divided by n. Abstained images get p = 0.4, and in a second table p = 0.5, the hardest case. The n votes are
drawn once and shown to both certifiers; the sequential one sees a prefix of what the fixed one sees. The certifiers are
those of the package; only the classifier is simulated.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from dmaelab.certifiers import Case, Cohen, Sequential
from dmaelab.records.readers import Log, read_log
from dmaelab.stats.bounds import clopper_pearson_lower
from dmaelab.stats.geometry import GaussianL2
from dmaelab.stats.looks import look_totals
from dmaelab.stats.radii import RADII
from dmaelab.testing.certifiers import drive
from dmaelab.utils.env import environment
from dmaelab.utils.files import write_json

N, ALPHA, N0 = 100_000, 0.001, 100
MULTIPLES = (0.5, 1.0, 1.5, 2.0, 3.0)
GRIDS = {"grid 0, 0.25, ..., 3": RADII, "grid of the paper": (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)}


def own_sigma(path: Path) -> float | None:
    """Return the sigma of a public log if its model was trained and certified at the same sigma, else None."""
    levels = set(map(float, re.findall(r"(?:noise|sigma)_(\d\.\d+)", path.name)))
    return levels.pop() if len(levels) == 1 else None


def label(path: Path) -> str:
    """Return a name for tables: the file name without the parts that all files share."""
    return path.name.removesuffix(".tsv").replace("__data__certify__", "__").replace("__", " ")


def probabilities(log: Log, sigma: float, abstained: float) -> np.ndarray:
    """Return p of every image, float64 [N]: the smallest count that gives the radius of the log, divided by n."""
    counts = np.arange(N // 2, N + 1)
    geometry = GaussianL2()
    radii = np.array([geometry.radius(sigma, clopper_pearson_lower(int(count), N, ALPHA)) for count in counts])
    places = np.searchsorted(radii, log.radius).clip(max=len(counts) - 1)
    return np.where(log.prediction < 0, abstained, counts[places] / N)


class Votes:
    """The votes of one image at every look. They are drawn once, so that all certifiers see the same votes."""

    def __init__(self, rng: np.random.Generator, p: float, totals: list[int]) -> None:
        steps = rng.binomial(np.diff([0, *totals]), p)
        self.counts = dict(zip(totals, np.cumsum(steps).tolist(), strict=True))

    def __call__(self, stream: str, total: int) -> np.ndarray:
        first = total if stream == "selection" else self.counts[total]
        return np.array([first, total - first, 0])


def simulate(
    log: Log, sigma: float, abstained: float, radii: tuple[float, ...], repeats: int, seed: int = 0
) -> dict[str, Any]:
    """Return the mean samples per image of a sequential run for ``radii``, and its change of certified accuracy.

    Every certified class counts as correct. Changes are in percentage points, the mean over repeats.
    """
    mode = "target" if len(radii) == 1 else "grid"
    fixed, sequential = Cohen(N0, N, ALPHA), Sequential(N0, N, ALPHA, mode=mode, radii=list(radii))
    case, rng, totals = Case(2, GaussianL2(), sigma), np.random.default_rng(seed), look_totals(N, sequential.growth)
    samples, certified = 0, np.zeros((2, len(radii)))
    ps = probabilities(log, sigma, abstained)
    for p in np.tile(ps, repeats):
        votes = Votes(rng, float(p), totals)
        for row, certifier in enumerate((fixed, sequential)):
            prediction, radius = certificate = drive(certifier, case, votes)
            certified[row] += [prediction >= 0 and radius >= wanted for wanted in radii]
        samples += certificate.samples
    runs = len(ps) * repeats
    shares = 100 * certified / runs
    return {
        "samples": round(samples / runs),
        "saving": (N + N0) * runs / samples,
        "accuracy": [round(share, 2) for share in shares[0].tolist()],
        "change": float(np.abs(shares[1] - shares[0]).max()),
    }


def wanted(sigma: float) -> dict[str, tuple[float, ...]]:
    """Return name -> target radii: single radii at multiples of sigma, and the two grids."""
    return {f"{multiple:g} sigma": (multiple * sigma,) for multiple in MULTIPLES} | GRIDS


def main() -> None:
    """Simulate every log of a folder, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of public logs, as TSV files")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--images", type=int, default=500, help="images of each log, evenly spaced (default: 500)")
    parser.add_argument("--output", help="also write the figures as JSON")
    args = parser.parse_args()
    records = []
    for abstained in (0.4, 0.5):
        for path in sorted(args.folder.glob("*.tsv")):
            if (sigma := own_sigma(path)) is None:
                continue
            log = read_log(path)
            log = log.take(np.unique(np.linspace(0, len(log) - 1, min(len(log), args.images)).astype(int)))
            for name, radii in wanted(sigma).items():
                result = simulate(log, sigma, abstained, radii, args.repeats)
                records.append(
                    {
                        "log": label(path),
                        "sigma": sigma,
                        "p of abstained": abstained,
                        "images": len(log),
                        "for": name,
                        **result,
                    }
                )
                print(
                    f"{label(path):60.60} {abstained} {name:22} {result['saving']:6.1f}x  change"
                    f" {result['change']:.3f}",
                    file=sys.stderr,
                )
    print(_table(records))
    if args.output:
        settings = {"n": N, "n0": N0, "alpha": ALPHA, "repeats": args.repeats}
        write_json(args.output, {"environment": environment(), "settings": settings, "records": records})


def _table(records: list[dict[str, Any]]) -> str:
    columns = [f"{multiple:g} sigma" for multiple in MULTIPLES] + list(GRIDS)
    rows: dict[tuple, list] = {}
    for record in records:
        rows.setdefault((record["log"], record["sigma"], record["p of abstained"]), []).append(
            f"{record['saving']:.1f}"
        )
    worst = max(record["change"] for record in records)
    headers = ["log", "sigma", "p of abstained", *columns]
    table = tabulate([[*key, *values] for key, values in rows.items()], headers, tablefmt="pipe", disable_numparse=True)
    return f"{table}\n\nlargest change of certified accuracy at any radius: {worst:.2f} points"


if __name__ == "__main__":
    main()
