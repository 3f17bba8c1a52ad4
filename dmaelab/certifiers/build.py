"""The interface of certifiers: coroutines over vote counts. Statistics on integers, no images."""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any, NamedTuple

import numpy as np

from dmaelab.records.row import CERTIFY_COLUMNS
from dmaelab.registry import Registry, builder
from dmaelab.stats.bounds import smallest_n
from dmaelab.stats.geometry import Geometry
from dmaelab.utils.arguments import KeepsArguments
from dmaelab.utils.errors import UserError

CERTIFIERS = Registry("certifier")
build_certifier = builder(CERTIFIERS)
build_certifier.__module__ = __name__

ABSTAIN = -1


class Votes(NamedTuple):
    """A request: the class counts of the first ``total`` noisy samples of a stream.

    It is answered with int64 ``[num_classes + 1]``, cumulative from the first sample of the stream;
    the last entry counts outputs that are not finite. Streams of different names are independent.
    """

    stream: str
    total: int


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a certifier found out about one image; ``prediction, radius = certificate`` unpacks it.

    Attributes:
        prediction: the class, or ``ABSTAIN`` (-1).
        radius: certified radius in the norm of the noise, [0,1] pixel units, of the open ball around
            the image; 0 on abstention.
        extra: values of columns that only this certifier has, by column.

    The others are columns of the log (nan where one does not apply); ``n`` counts the estimation
    samples that were drawn.
    """

    prediction: int
    radius: float = 0.0
    top: int
    n: int
    n0: int = 0
    p_lower: float = nan
    count_a: float = nan
    count_b: float = nan
    runner_up: float = nan
    p_upper: float = nan
    radius_two_sided: float = nan
    look_a: str | float = nan
    look_b: str | float = nan
    stop_reason: str | float = nan
    p_value: float = nan
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def radius_full(self) -> float:
        """The radius at full precision, as the log's column of that name has it."""
        return self.radius

    @property
    def samples(self) -> int:
        """All noisy samples drawn, ``n0 + n``."""
        return self.n0 + self.n

    def __iter__(self) -> Iterator[Any]:
        return iter((self.prediction, self.radius))

    def column(self, name: str) -> Any:
        """Return the value of one column of the log."""
        return self.extra[name] if name in self.extra else getattr(self, name)


class Case:
    """One image as a certifier sees it: no pixels, no sigma.

    Args:
        num_classes: number of classes of the classifier.
        geometry: turns probabilities into radii.
        sigma: level of the noise, in [0,1] pixel units.
        tau: total variation between the noise as sampled and as its certificate assumes it; taken
            off every bound here, so that no certifier has to.
        label: the true class where it is known.
        random: name -> numpy generator, the same for the same image and name.
    """

    def __init__(
        self,
        num_classes: int,
        geometry: Geometry,
        sigma: float,
        *,
        tau: float = 0.0,
        label: int | None = None,
        random: Callable[[str], np.random.Generator] | None = None,
    ) -> None:
        self.num_classes = num_classes
        self.label = label
        self._geometry, self._sigma, self._tau = geometry, sigma, tau
        self._random = random

    def radius(self, p_lower: float, p_upper: float | None = None) -> float:
        """Return the radius from a lower bound of the top class and an upper bound of every other class.

        ``p_upper=None`` means ``1 - p_lower``. Negative where nothing is certified.
        """
        return self._geometry.radius_as_sampled(self._sigma, self._tau, p_lower, p_upper)

    def needed(self, radius: float) -> float:
        """Return the lower bound of the top class from which ``radius`` is certified, one-sided."""
        return self._geometry.needed(self._sigma, radius) + self._tau

    def random(self, name: str) -> np.random.Generator:
        """Return the certifier's own random numbers for this image; independent of the noise."""
        if self._random is None:
            raise RuntimeError("this case was made without random numbers")
        return self._random(name)


class Certifier(KeepsArguments):
    """Base of certifiers. A plug-in subclasses it and writes :meth:`certify`; and :meth:`verify`, if its logs are to be
    verified.

    The arguments of the constructor are the options of a certifier: they go into the header of the log
    (:meth:`options`), so they must be numbers, text, bool, None, or lists and dicts of these.

    Args:
        n: samples that estimate a probability, at most.
        alpha: probability with which a certificate may be wrong.

    Raises:
        UserError: n < 1, alpha outside (0, 1), or n too small ever to certify at alpha; names the smallest n that
            could.
    """

    columns: tuple[str, ...] = CERTIFY_COLUMNS
    """Columns of the log after the six that all logs share."""

    def __init__(self, n: int = 100_000, alpha: float = 0.001) -> None:
        self.n = sample_count("n", n)
        if not 0 < alpha < 1:
            raise UserError(f"certifier.alpha is {alpha}: give a probability between 0 and 1, such as 0.001")
        self.alpha = float(alpha)
        if self.n < (least := self.smallest_n()):
            raise UserError(
                f"certifier.n is {n}, which can never certify at alpha={alpha}: every image would abstain; use n >="
                f" {least}"
            )

    def smallest_n(self) -> int:
        """Return the least n with which this certifier could answer at all at its alpha."""
        return smallest_n(self.alpha)

    def options(self) -> dict[str, Any]:
        """Return the arguments of the constructor, n and alpha among them, as the header of a log holds them."""
        return super().options() | {"n": self.n, "alpha": self.alpha}

    def check(self, case: Case) -> None:
        """Refuse what no image could get, before the first is begun: a ``UserError`` in one line.

        Args:
            case: the first image; the others differ in their label alone.
        """

    def certify(self, case: Case) -> Generator[Votes, np.ndarray, Certificate]:
        """Ask for votes with ``counts = yield Votes(stream, total)`` and return a :class:`Certificate`.

        Totals of one stream may only grow. Nothing but the answers and ``case`` may be used: then a
        killed image replays to the same certificate.
        """
        raise NotImplementedError(f"{type(self).__name__} must define certify(case)")

    def verify(self, row: Mapping[str, Any], case: Case) -> list[str]:
        """Return what one row of a log claims beyond what follows from its counts; an empty list if nothing.

        Every bound is computed again from counts in the row and the options of this certifier, every radius from the
        bounds and ``case``. Columns that no count supports must be nan. The first six columns of a log, and that an
        answer is the class ``top``, are checked by :mod:`dmaelab.certifiers.verification` already.
        :mod:`dmaelab.certifiers.claims` helps.

        Args:
            row: values by column, as :func:`dmaelab.records.row.parse_row` returns them; text or nan may stand where
                a number should. A TypeError, ValueError or ArithmeticError says that the row is damaged.
            case: any image of the log, without its label.

        Returns:
            A line for each problem, such as ``"p_lower is too large, from the counts follows 0.98"``.

        Raises:
            UserError: the certifier does not define this method.
        """
        raise UserError(f"the certifier {type(self).__name__} does not say how its rows are verified")


def identity_of(certifier: Certifier) -> dict[str, Any]:
    """Return what the identity of a log says of its certifier: ``alpha``, ``n0``, ``n`` and ``certifier``.

    The last is a dict of its name and its other options; n0 is None where it selects nothing.

    Raises:
        UserError: an option is no plain value.
    """
    options = certifier.options()
    apart = {name: options.pop(name, None) for name in ("alpha", "n0", "n")}
    return {**apart, "certifier": {"name": CERTIFIERS.name_of(certifier), **options}}


def sample_count(name: str, value: int) -> int:
    """Return the number of samples that an option of a certifier gives; ``UserError`` unless it is whole and >= 1."""
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise UserError(f"certifier.{name} is {value}: give a whole number of samples, at least 1")
    return int(value)


def select(counts: np.ndarray) -> int:
    """Return the class with the most votes, the lowest on ties, never the non-finite outputs' entry."""
    return int(counts[:-1].argmax())


def runner_up(counts: np.ndarray, top: int) -> tuple[int, int]:
    """Return the entry with the most votes beside ``top``, and its votes.

    Non-finite outputs compete as the class ``num_classes``: votes that ``top`` did not get must not
    vanish from the bound.
    """
    others = counts.copy()
    others[top] = -1
    second = int(others.argmax())
    return second, int(counts[second])
