"""The base class of certifiers.

A certifier is a coroutine: it asks for vote counts of noisy samples and finally returns a certificate. It sees counts
only, never images or the network.
"""

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np

from dmaelab.certifiers.case import Case
from dmaelab.certifiers.certificate import Certificate, Votes
from dmaelab.records.row import CERTIFY_COLUMNS
from dmaelab.stats.bounds import smallest_n
from dmaelab.utils.arguments import KeepsArguments
from dmaelab.utils.errors import UserError


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

    stop_reasons: tuple[str, ...] = ()
    """The values that the column ``stop_reason`` can have; if empty, :meth:`verify` must check the column itself."""

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
        """Check the options before anything is certified, such as radii that no image can reach.

        A config is checked before its classifier and its images are read, so that a pipeline does not find a mistake
        after hours of training. Therefore use only ``radius``, ``needed`` and ``label`` of the case. Its number of
        classes and its random numbers are not known in this early call.

        Args:
            case: stands for any image. Its label is None if labels are not known.

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
        the bounds and ``case``. Check also that the counts are possible: that ``n``, ``n0`` and ``samples`` are those
        of the options, that the votes add up, that no bound is missing in an answer, and that columns that do not
        follow from counts are nan. There are helper functions in :mod:`dmaelab.certifiers.claims`.

        What holds for all certifiers needs no check here, because :mod:`dmaelab.certifiers.verification` does it
        before: the columns of the log, the spelling and the range of each cell, that classes exist, that an answer is
        the class ``top``, that an abstention has no radius, that ``radius`` is ``radius_full`` rounded down and at most
        what ``p_lower`` and ``p_upper`` give, and that ``stop_reason`` is one of :attr:`stop_reasons`. A column that
        has the name of a column of this package must also have its kind of values (``KINDS`` in
        :mod:`dmaelab.records.cells`): ``n``, ``n0`` and ``samples`` are whole numbers, ``runner_up`` and the counts may
        be nan, but not -1. Give a column with other values another name.

        Args:
            row: values by column, as :func:`dmaelab.records.row.parse_row` returns them. Cells may be nan. If this
                method raises an exception, the row is reported as damaged.
            case: any image of the log, without its label.

        Returns:
            A line for each problem, such as ``"p_lower is too large, from the counts follows 0.98"``; empty if the row
            is fine.

        Raises:
            UserError: the certifier does not define this method.
        """
        raise UserError(f"the certifier {type(self).__name__} cannot verify rows: it does not define verify(row, case)")


def sample_count(name: str, value: int) -> int:
    """Return ``value`` as an int; ``UserError`` if it is not a whole number >= 1. ``name`` names the option."""
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise UserError(f"certifier.{name} is {value}: give a whole number of samples, at least 1")
    return int(value)
