"""Contract check of certifiers: on simulated votes, a wrong certificate has a probability of at most alpha."""

import itertools
from collections.abc import Callable, Iterator
from math import isfinite, isnan, nan
from typing import Any

import numpy as np
from scipy.special import bdtrc

from dmaelab.certifiers import ABSTAIN, CERTIFIERS, Case, Certificate, Certifier, Votes
from dmaelab.certifiers.verification import is_verifiable, problems_of
from dmaelab.records.cells import cell_problems
from dmaelab.records.row import BASE_COLUMNS, floor_radius, format_row, make_row, parse_row
from dmaelab.stats.geometry import GaussianL2
from dmaelab.testing.expect import Expect, check_options
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw

VoteSource = Callable[[str, int], np.ndarray]
"""``(stream, total)`` -> votes [K+1] among the first ``total`` samples of a stream, as for :class:`Votes`.

The last entry counts samples with non-finite logits.
"""

RUNS = 1000
_PROBABILITIES = ((0.51, 0.49), (0.6, 0.4), (0.75, 0.25), (0.9, 0.1), (0.99, 0.01), (0.5, 0.3, 0.2))


def check_certifier(certifier: Certifier) -> None:
    """Check that a certifier keeps the contract of :class:`~dmaelab.certifiers.Certifier`.

    * Its method ``check`` needs only the noise, because a config is checked before classifier and images are read.
    * It abstains on a tie, and the radius does not shrink if the class gets more votes out of the same number.
    * The same votes give the same certificate, and its row can be written to a log.
    * On 1,000 simulated images for each of six vectors of class probabilities, it is wrong no more often than alpha
      allows.
    * If it can verify rows of a log, it accepts its own rows, and refuses them after a claim is increased, a bound of
      an answer or a number of samples is changed, votes are invented, or the reason to stop is one that it never gives.

    Build the certifier with a large alpha, such as 0.05, and n of some hundreds: at alpha = 0.001 only gross mistakes
    would show. A sound certifier fails this check with a probability below 1e-5.

    Raises:
        AssertionError: the contract is broken; the text names the first problem.
    """
    expect = Expect(certifier)
    check_options(expect, certifier, CERTIFIERS)
    _check_early(expect, certifier)
    case = _case(2)
    ladder = [_certify(expect, certifier, case, _constant(share)) for share in np.linspace(0.5, 1, 51)]
    expect(ladder[0].prediction == ABSTAIN, "it does not abstain on a coin flip")
    if certifier.n >= certifier.smallest_n():
        expect(ladder[-1].prediction == 0, "it does not answer with the class of a unanimous vote")
    for fewer, more in itertools.pairwise(ladder):
        expect(
            fewer.prediction == ABSTAIN or more.prediction == 0,
            "it abstains with more votes where it answered with fewer",
        )
        expect(
            fewer.n != more.n or fewer.radius <= more.radius,
            "its radius shrinks when the class gets more of as many votes",
        )
    broken = _certify(expect, certifier, case, lambda _, total: np.array([0, 0, total]))
    expect(broken.prediction == ABSTAIN, "it answers although no output of the classifier was finite")
    _certify(expect, certifier, _case(2, tau=0.6), _constant(1.0))  # tau is so large that no radius is above 0
    for probabilities in _PROBABILITIES:
        errors = _count_errors(certifier, probabilities)
        expect(
            bdtrc(errors - 1, RUNS, certifier.alpha) > 1e-6,
            f"it was wrong for {errors} of {RUNS} simulated images with probabilities {probabilities}; alpha is"
            f" {certifier.alpha}",
        )


def _check_early(expect: Expect, certifier: Certifier) -> None:
    """Let a certifier check its options when only the noise is known. It may refuse them for this noise."""
    try:
        certifier.check(Case(2, GaussianL2(), 0.25, label=0))
    except UserError:
        return
    except Exception as error:
        expect(False, f"its method check needs more than the noise: {error}")


def drive(certifier: Certifier, case: Case, votes: VoteSource) -> Certificate:
    """Run a certifier's coroutine on given votes, and return its certificate.

    Args:
        certifier: the certifier.
        case: the case to certify.
        votes: answers each request of the certifier.

    Raises:
        AssertionError: a request is one that a real run would refuse, or the certificate reports another number of
            samples than were requested.
    """
    expect, drawn = Expect(certifier), dict[str, int]()
    coroutine: Any = certifier.certify(case)
    counts = None
    while True:
        try:
            request = coroutine.send(counts)
        except StopIteration as end:
            certificate = end.value
            break
        expect(isinstance(request, Votes), f"it yields {request!r}; ask for votes with Votes(stream, total)")
        stream, total = request
        before = drawn.get(stream, 0)
        expect(total >= max(1, before), f"it asks for {total} samples of '{stream}' after {before}; totals only grow")
        drawn[stream] = total
        counts = np.asarray(votes(stream, total), np.int64)
    expect(isinstance(certificate, Certificate), f"it returns {certificate!r}; certify(case) must return a Certificate")
    expect(
        certificate.samples == sum(drawn.values()),
        f"its certificate has n0 + n = {certificate.samples}, but it drew {drawn}",
    )
    return certificate


def _certify(expect: Expect, certifier: Certifier, case: Case, votes: VoteSource) -> Certificate:
    """Run a certifier twice on deterministic votes, and check what must hold for any votes."""
    certificate = drive(certifier, case, votes)
    prediction, radius = certificate
    expect(repr(drive(certifier, case, votes)) == repr(certificate), "the same votes gave two different certificates")
    expect(
        prediction == ABSTAIN or 0 <= prediction < case.num_classes, f"it predicts {prediction}, which is not a class"
    )
    expect(isfinite(radius) and radius >= 0, f"its radius is {radius}")
    expect(prediction != ABSTAIN or radius == 0, f"it abstains with a radius of {radius}")
    row = _check_row(expect, certifier, certificate)
    if is_verifiable(certifier):
        _check_verification(expect, certifier, row, case)
    if prediction != ABSTAIN and not isnan(certificate.p_lower):
        upper = None if isnan(certificate.p_upper) else certificate.p_upper
        possible = max(case.radius(certificate.p_lower), case.radius(certificate.p_lower, upper))
        expect(
            radius <= possible + 1e-9,
            f"its radius {radius} is above {possible}, which case.radius gives for the bounds in its row",
        )
    return certificate


def _check_row(expect: Expect, certifier: Certifier, certificate: Certificate) -> dict[str, Any]:
    """Check the row of a certificate, and return the row as it is read back from a log."""
    columns = (*BASE_COLUMNS, *certifier.columns)
    expect(len(set(columns)) == len(columns), f"a column of the log stands twice in {columns}")
    try:
        values = {name: certificate.column(name) for name in certifier.columns}
        prediction, radius = certificate
        line = format_row(columns, make_row(0, 0, prediction, radius, 0.0, values))
    except (AttributeError, UserError) as error:
        raise AssertionError(f"{expect.who}: its row of the log cannot be written: {error}") from error
    if isinstance(certificate.look_a, str):
        count, total = map(int, certificate.look_a.split("/"))
        p_lower = certificate.p_lower
        expect(p_lower <= count / total, f"p_lower {p_lower} is above the share of votes {count}/{total} in look_a")
    cells = line.split("\t")
    row = parse_row(columns, cells)
    if is_verifiable(certifier):
        damaged = cell_problems(columns, cells, row)
        expect(not damaged, f"its row of the log could not be verified: {'; '.join(damaged)}")
    return row


def _check_verification(expect: Expect, certifier: Certifier, row: dict[str, Any], case: Case) -> None:
    """Check that a certifier accepts its own row, and refuses changed rows that claim more."""
    problems = problems_of(certifier, row, case)
    expect(not problems, f"verify() refuses a row of its own: {'; '.join(problems)}")
    for claim in _larger_claims(row):
        expect(problems_of(certifier, row | claim, case), f"verify() accepts {row} with {claim}, which claims more")
    for change in _contradictions(row):
        expect(problems_of(certifier, row | change, case), f"verify() accepts {row} with {change}, which cannot be")


def _larger_claims(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield changes of a row that make it claim more."""
    larger = row["radius"] + 0.01
    yield {"radius": larger}
    if "radius_full" in row:
        yield {"radius": larger, "radius_full": larger}
        yield {"radius": float(floor_radius(larger)), "radius_full": larger}
    if not isnan(row.get("p_lower", nan)):
        yield {"p_lower": (1 + row["p_lower"]) / 2}
    if row.get("p_upper", nan) > 0:
        yield {"p_upper": row["p_upper"] / 2}
    if "radius_two_sided" in row:
        two_sided = row["radius_two_sided"]
        yield {"radius_two_sided": larger if isnan(two_sided) else two_sided + 0.01}
    if row["predict"] == ABSTAIN and "top" in row:
        yield {"predict": row["top"], "correct": int(row["top"] == row["label"])}


def _contradictions(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield changes after which a row contradicts itself, or the options of its certifier."""
    for name in ("n", "n0", "samples"):
        if name in row:
            yield {name: row[name] + 1}
    if {"n", "samples"} <= row.keys():
        yield {"n": row["n"] + 1, "samples": row["samples"] + 1}
    if not isnan(row.get("count_a", nan)):
        yield {"count_a": row["n"] + 1}
    if isinstance(row.get("look_a"), str):
        yield {"look_a": f"{row['n'] + 1}/{row['n'] + 1}"}
    if isinstance(row.get("stop_reason"), str):
        yield {"stop_reason": "no such reason"}
    if row["predict"] != ABSTAIN:
        for name in ("radius_full", "p_lower"):
            if not isnan(row.get(name, nan)):
                yield {name: nan}


def _count_errors(certifier: Certifier, probabilities: tuple[float, ...]) -> int:
    """Return the number of simulated images whose certified radius is larger than the true one."""
    rng = np.random.default_rng(0)
    case = _case(len(probabilities))
    errors = 0
    for _ in range(RUNS):
        prediction, radius = drive(certifier, case, _Simulated(probabilities, rng))
        if prediction != ABSTAIN:
            others = probabilities[:prediction] + probabilities[prediction + 1 :]
            errors += radius > case.radius(probabilities[prediction], max(others)) + 1e-9
    return errors


class _Simulated:
    """Random votes for one image with known class probabilities; streams are independent."""

    def __init__(self, probabilities: tuple[float, ...], rng: np.random.Generator) -> None:
        self.probabilities, self.rng = probabilities, rng
        self.counts: dict[str, np.ndarray] = {}

    def __call__(self, stream: str, total: int) -> np.ndarray:
        counts = self.counts.setdefault(stream, np.zeros(len(self.probabilities) + 1, np.int64))
        counts[:-1] += self.rng.multinomial(total - counts.sum(), self.probabilities)
        return counts.copy()


def _constant(share: float) -> VoteSource:
    """Return votes for two classes; the first one gets this share of the samples, rounded up."""

    def votes(stream: str, total: int) -> np.ndarray:
        first = int(np.ceil(share * total - 1e-9))
        return np.array([first, total - first, 0])

    return votes


def _case(num_classes: int, tau: float = 0.0) -> Case:
    return Case(num_classes, GaussianL2(), 0.25, tau=tau, random=lambda name: Draw(0, "call", name).host())
