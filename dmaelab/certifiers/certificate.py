"""What a certifier asks for and what it returns: :class:`Votes` and :class:`Certificate`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any, NamedTuple

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
