"""Learning-rate schedules: a multiplier as a function of the share of the training that is done."""

from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    CosineParamScheduler,
    LinearParamScheduler,
    ParamScheduler,
)

from dmaelab.utils.errors import ConfigError


def warmup_cosine(warmup: float = 0.05, final: float = 0.0) -> ParamScheduler:
    """Return a linear rise from 0 to 1, then half a cosine down to ``final``: MAE's and DMAE's schedule.

    Called with ``where = step / max_iter`` in [0, 1).

    Args:
        warmup: share of the training that rises, in [0, 1).
        final: multiplier at the end.
    """
    if not 0 <= warmup < 1:
        raise ConfigError(f"schedule.warmup is {warmup}: give a share of the training, in [0, 1)")
    cosine = CosineParamScheduler(1.0, final)
    if warmup == 0:
        return cosine
    return CompositeParamScheduler(
        [LinearParamScheduler(0.0, 1.0), cosine], lengths=[warmup, 1 - warmup], interval_scaling=["rescaled", "rescaled"]
    )
