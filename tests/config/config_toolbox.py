"""Importable targets for the tests of configs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Optional

from dmaelab.registry import Registry, builder
from dmaelab.utils.errors import UserError

NOISES = Registry("noise")
build_noise = builder(NOISES, __name__)


@NOISES.register("normal")
class Normal:
    """Noise with one argument."""

    def __init__(self, sigma: float | tuple[float, float]) -> None:
        if sigma == -1:
            raise UserError("sigma is -1: give a number >= 0")
        self.sigma = sigma


@NOISES.register("salt")
class Salt:
    """Noise with other arguments."""

    def __init__(self, share: float, value: int = 1) -> None:
        self.share, self.value = share, value


class Model:
    """Takes every kind of argument."""

    built = 0

    def __init__(
        self,
        depth: int,
        noise: Normal | Salt | None = None,
        *,
        rate: float = 0.1,
        pool: Literal["gap", "cls"] = "gap",
        flag: bool = False,
        sizes: Sequence[int] = (),
        pair: tuple[float, float] = (0.0, 1.0),
        old_style: int = None,  # noqa: RUF013 - the implicit Optional of older libraries
        name: Optional[str] = None,  # noqa: UP045 - and their explicit one
        table: dict[str, float] | None = None,
        anything=None,
    ) -> None:
        type(self).built += 1
        self.arguments = {key: value for key, value in locals().items() if key != "self"}


@dataclass
class Settings:
    """A schema of a plain section."""

    max_iter: int
    lr: float = 0.1
    clip: float | None = None


def optimizer(params: Iterable[Any], lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> tuple[Any, ...]:
    return params, lr, betas


def open_call(**kwargs: Any) -> dict[str, Any]:
    return kwargs


def postponed(x: "Unknown" = 1, callback: Callable[[int], int] | None = None) -> None:  # noqa: F821
    """Has an annotation that cannot be resolved."""


def failing(x: int) -> None:
    raise RuntimeError(f"no luck with {x}\nand a second line")


NOT_CALLABLE = 3


def local_function() -> Callable[[], None]:
    def inner() -> None: ...

    return inner
