"""The interface of certifiers.

A certifier is a coroutine: it asks for vote counts of noisy samples and finally returns a certificate. It sees counts
only, never images or the network.
"""

import inspect
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
    """A certifier's request for the class counts of the first ``total`` noisy samples of a stream.

    The answer is int64 ``[num_classes + 1]``. It counts from the first sample of the stream on, and its last entry
    counts outputs that are not finite. Streams with different names are independent.
    """

    stream: str
    total: int


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The result of a certifier for one image; ``prediction, radius = certificate`` unpacks it.

    Attributes:
        prediction: the class, or ``ABSTAIN`` (-1).
        radius: certified radius of the open ball around the image, in the norm of the noise and in [0,1] pixel units;
            0 on abstention.
        top: the selected class, also if the certifier abstains.
        n: number of estimation samples that were drawn.
        n0: number of selection samples that were drawn.
        p_lower: lower bound of the probability of class ``top``.
        count_a: votes of class ``top`` among the n samples.
        count_b: votes of the class with the most votes among the others.
        runner_up: that class; ``num_classes`` means outputs that are not finite.
        p_upper: upper bound of the probability of every other class.
        radius_two_sided: radius that uses both bounds.
        look_a: ``"count/total"`` of the votes that gave ``p_lower``.
        look_b: ``"count/total"`` of the votes that gave ``p_upper``.
        stop_reason: why no more samples were drawn.
        p_value: p-value of PREDICT's test.
        extra: values of columns that only this certifier has, by column.

    Each attribute but ``extra`` is a column of the log; nan means that it does not apply.
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
        """The radius at full precision; the log's column ``radius`` is rounded."""
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
    """One image as a certifier sees it: number of classes, label, and radii from probabilities, but no pixels.

    Args:
        num_classes: number of classes of the classifier.
        geometry: turns probabilities into radii.
        sigma: level of the noise, in [0,1] pixel units.
        tau: total variation distance between the noise as it is sampled and the noise that the certificate assumes.
            This class allows for it in every bound, so certifiers need not.
        label: the true class, None if it is not known.
        random: function from a name to a numpy generator; the same image and name always give the same numbers.
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
        """Return the certified radius, in [0,1] pixel units; negative if nothing is certified.

        Args:
            p_lower: lower bound of the probability of the top class.
            p_upper: upper bound of the probability of every other class; None means ``1 - p_lower``.
        """
        return self._geometry.radius_as_sampled(self._sigma, self._tau, p_lower, p_upper)

    def needed(self, radius: float) -> float:
        """Return the smallest lower bound of the top class's probability that certifies ``radius``, one-sided."""
        return self._geometry.needed(self._sigma, radius) + self._tau

    def random(self, name: str) -> np.random.Generator:
        """Return the certifier's own random numbers for this image; independent of the noise."""
        if self._random is None:
            raise RuntimeError("this case was made without random numbers")
        return self._random(name)


class Certifier(KeepsArguments):
    """Base class of certifiers.

    A plug-in subclasses it and defines :meth:`certify`. It also defines :meth:`verify` if its logs shall be verifiable.
    The arguments of the constructor are the options of a certifier: they go into the header of the log
    (:meth:`options`), so they must be numbers, text, bool, None, or lists and dicts of these.

    Args:
        n: number of samples that estimate a probability, at most.
        alpha: probability with which a certificate may be wrong.

    Raises:
        UserError: n < 1, alpha is outside (0, 1), or so few samples can never certify at alpha. The message names the
            smallest n that can.
    """

    columns: tuple[str, ...] = CERTIFY_COLUMNS
    """Columns of the log, after the six that all logs have."""

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
        """Return the smallest n with which this certifier can give an answer at its alpha."""
        return smallest_n(self.alpha)

    def options(self) -> dict[str, Any]:
        """Return the arguments of the constructor, including n and alpha, as they are written to the log's header."""
        return super().options() | {"n": self.n, "alpha": self.alpha}

    def check(self, case: Case) -> None:
        """Check the options before the first image is certified, such as radii that no image can reach.

        Args:
            case: the first image; the others differ in their label only.

        Raises:
            UserError: the options do not fit the images or the noise.
        """

    def certify(self, case: Case) -> Generator[Votes, np.ndarray, Certificate]:
        """Ask for votes with ``counts = yield Votes(stream, total)`` and return a :class:`Certificate`.

        The totals of one stream must not decrease. The result may depend only on the answers and on ``case``, so that
        an image that is interrupted gets the same certificate when it is certified again.
        """
        raise NotImplementedError(f"{type(self).__name__} must define certify(case)")

    def verify(self, row: Mapping[str, Any], case: Case) -> list[str]:
        """Check that one row of a log claims no more than what follows from its counts.

        Compute every bound again from the counts in the row and the options of this certifier, and every radius from
        the bounds and ``case``. Columns that do not follow from counts must be nan. The first six columns, and that an
        answer is the class ``top``, need no check here: :mod:`dmaelab.certifiers.verification` checks them. There are
        helper functions in :mod:`dmaelab.certifiers.claims`.

        Args:
            row: values by column, as :func:`dmaelab.records.row.parse_row` returns them. A damaged row may hold text or
                nan instead of a number. This method may then raise a TypeError, ValueError, AttributeError or
                ArithmeticError, and the caller reports the row as damaged.
            case: any image of the log, without its label.

        Returns:
            A line for each problem, such as ``"p_lower is too large, from the counts follows 0.98"``; empty if the row
            is fine.

        Raises:
            UserError: the certifier does not define this method.
        """
        raise UserError(f"the certifier {type(self).__name__} cannot verify rows: it does not define verify(row, case)")


def identity_of(certifier: Certifier) -> dict[str, Any]:
    """Return the entries ``alpha``, ``n0``, ``n`` and ``certifier`` of a log's identity.

    ``certifier`` is a dict with the name and the other options. ``n0`` is None if the certifier has no such option.

    Raises:
        UserError: an option is not a plain value.
    """
    options = certifier.options()
    apart = {option: options.pop(option, None) for option in ("alpha", "n0", "n")}
    name = {"name": CERTIFIERS.name_of(certifier)}  # first, and not hidden by an option of that name
    return {**apart, "certifier": name | options | name}


def takes_n0(name: str) -> bool:
    """Return whether the registered certifier of that name has the option n0, the samples that select the class."""
    parameters = inspect.signature(CERTIFIERS.get(name)).parameters.values()
    return any(one.name == "n0" or one.kind is one.VAR_KEYWORD for one in parameters)


def sampled_sigma(sigma: float) -> float:
    """Return the smaller of ``sigma`` and its float32 value: the noise is scaled in float32."""
    return min(sigma, float(np.float32(sigma)))


def sample_count(name: str, value: int) -> int:
    """Return ``value`` as an int; ``UserError`` if it is not a whole number >= 1. ``name`` names the option."""
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise UserError(f"certifier.{name} is {value}: give a whole number of samples, at least 1")
    return int(value)


def select(counts: np.ndarray) -> int:
    """Return the class with the most votes, the lowest one on ties; non-finite outputs are never selected."""
    return int(counts[:-1].argmax())


def runner_up(counts: np.ndarray, top: int) -> tuple[int, int]:
    """Return the class with the most votes apart from ``top``, and its votes.

    Non-finite outputs count as the class ``num_classes``. If they were dropped, the bound of the other classes would
    be too low.
    """
    others = counts.copy()
    others[top] = -1
    second = int(others.argmax())
    return second, int(counts[second])
