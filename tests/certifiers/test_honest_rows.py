"""No honest row is reported: random votes, many classes, ties, outputs that are not finite, all geometries."""

import numpy as np
import pytest

from dmaelab.certifiers import Case, Cohen, Predict, Sequential
from dmaelab.certifiers.verification import problems_of
from dmaelab.records.cells import cell_problems
from dmaelab.records.row import BASE_COLUMNS, format_row, make_row, parse_row
from dmaelab.stats.geometry import GaussianL2, LaplaceL1, QuantisedGaussianL2, UniformL1
from dmaelab.testing import drive

CERTIFIERS = {
    "cohen": Cohen(10, 200, 0.001),
    "skipping": Cohen(10, 200, 0.01, skip_wrong=True),
    "grid": Sequential(10, 3000, 0.001, radii=[0.0, 0.05, 0.1, 0.2, 0.3]),
    "grid without futility": Sequential(10, 600, 0.001, radii=[0.0, 0.1, 5.0], futility=None, growth=1.1),
    "hasty grid": Sequential(10, 2000, 0.01, radii=[0.0, 0.05, 0.1, 0.15], futility=0.2, growth=1.7),
    "skipping grid": Sequential(10, 500, 0.01, radii=[0.0, 0.1], skip_wrong=True),
    "target": Sequential(10, 2000, 0.001, mode="target", radii=[0.1]),
    "radius": Sequential(10, 1500, 0.001, mode="radius"),
    "predict": Predict(60, 0.01),
}
GEOMETRIES = [(GaussianL2(), 0.0), (QuantisedGaussianL2(), 1e-6), (UniformL1(), 0.0), (LaplaceL1(), 0.0)]


def random_votes(rng, classes):
    """Return a source of votes for one image: near a tie, clear, for few of many classes, or not finite."""
    sharpness = rng.choice([0.1, 1.0, 5.0])
    probabilities = rng.dirichlet(np.full(classes + 1, 1 / sharpness))
    if rng.uniform() < 0.5:  # two classes near a tie, or one alone, and nothing that is not finite
        first = rng.choice([0.5, 0.6, 0.75, 0.9, 0.99, 1.0])
        probabilities = np.zeros(classes + 1)
        probabilities[rng.permutation(classes)[:2]] = first, 1 - first
    counts = {}

    def votes(stream, total):
        known = counts.setdefault(stream, np.zeros(classes + 1, np.int64))
        known += rng.multinomial(total - known.sum(), probabilities)
        return known.copy()

    return votes


@pytest.mark.parametrize("name", CERTIFIERS)
def test_honest_rows_are_never_reported(name):
    rng, certifier, kinds = np.random.default_rng(7), CERTIFIERS[name], set()
    columns = (*BASE_COLUMNS, *certifier.columns)
    for index in range(200):
        classes, (geometry, tau) = int(rng.choice([2, 3, 10])), GEOMETRIES[index % 4]
        label = int(rng.integers(classes))
        certificate = drive(certifier, Case(classes, geometry, 0.25, tau=tau, label=label), random_votes(rng, classes))
        values = {column: certificate.column(column) for column in certifier.columns}
        line = format_row(columns, make_row(index, label, certificate.prediction, certificate.radius, 0.1, values))
        row = parse_row(columns, line.split("\t"))
        case = Case(classes, geometry, 0.25, tau=tau)
        assert [*cell_problems(columns, line.split("\t"), row), *problems_of(certifier, row, case)] == [], line
        kinds.add((certificate.prediction >= 0, certificate.stop_reason if "stop_reason" in columns else ""))
    assert {answers for answers, _ in kinds} == {True, False}
    reasons = {reason for _, reason in kinds if reason}
    assert reasons <= set(certifier.stop_reasons)
    assert name != "grid" or reasons == {"n", "certified", "decided", "futile"}
