"""Checks of a whole pipeline before its first stage starts, so that errors do not show after hours of training."""

from dmaelab.analysis.paper.tables import NUMBERS
from dmaelab.config import open_config
from dmaelab.engine import certification, training
from dmaelab.engine.classes import check_declared_classes
from dmaelab.launch.plan import Plan
from dmaelab.launch.stages import Stage
from dmaelab.utils.errors import ConfigError, did_you_mean


def check_plan(plan: Plan) -> None:
    """Check the stages in their order, and then the settings, without building anything.

    Raises:
        ConfigError: something is wrong; the text names the config key or the stage, and the first problem.
    """
    if not plan.stages:
        raise ConfigError("stages: a pipeline needs at least one stage")
    for number, stage in enumerate(plan.stages):
        where, earlier = f"stages.{number}", plan.stages[:number]
        _check_source(stage, earlier, where)
        _check_milestone(plan, stage, where)
        try:
            _check_config(plan, stage)
        except ConfigError as error:
            raise ConfigError(f"stage '{stage.name}': {error}") from error
    _check_weights(plan)
    _check_report(plan)


def _check_source(stage: Stage, earlier: list[Stage], where: str) -> None:
    """Refuse a name that an earlier stage already has, and a source that is not an earlier training stage."""
    if stage.name in [other.name for other in earlier]:
        raise ConfigError(f"{where}.name: two stages are called '{stage.name}'")
    if stage.source is not None:
        key = "init_from" if stage.certify is None else "certify"
        trainings = [other.name for other in earlier if other.certify is None]
        _check_known(stage.source, trainings, f"{where}.{key}: there is no earlier training stage")


def _check_milestone(plan: Plan, stage: Stage, where: str) -> None:
    """Refuse a milestone that the training stage will not save.

    If ``pipeline.weights`` replaces the stage, its milestones are not known, and this is not checked.
    """
    name, colon, milestone = (stage.init_from or stage.certify or "").partition(":")
    if colon and stage.certify is not None:
        raise ConfigError(
            f"{where}.certify: name the stage '{name}', and certify.weights={milestone} among the overrides"
        )
    if not colon or {name, f"{name}:{milestone}"} & plan.weights.keys():
        return
    train = plan.trained_config(name).train
    known = [*(train.get("milestones") or {}), *(["best"] if train.get("best_metric") else [])]
    if milestone not in known:
        there = f"it has: {', '.join(known)}" if known else "it has none"
        raise ConfigError(
            f"{where}.init_from: stage '{name}' has no milestone '{milestone}'{did_you_mean(milestone, known)}; {there}"
        )


def _check_config(plan: Plan, stage: Stage) -> None:
    """Check the config of a stage. A certification is completed with the config of the training that it certifies."""
    if stage.certify is None:
        training.check_training(plan.training_config(stage))
        check_declared_classes(plan.training_config(stage))
        return
    cfg = open_config(stage.config, sections=certification.SECTIONS)
    certification.complete(cfg, plan.trained_config(stage.certify), plan.certification_overrides(stage)).check_classes()


def _check_weights(plan: Plan) -> None:
    """Check ``pipeline.weights``: its keys are stages, its paths exist, and stages in ``pictures`` are not files."""
    for name in plan.settings.weights:
        _check_known(name.partition(":")[0], plan.trainings(), "pipeline.weights: there is no training stage")
        started = [stage.init_from for stage in plan.stages if stage.init_from]
        if ":" in name and name not in started:
            raise ConfigError(f"pipeline.weights.{name}: no stage starts from '{name}'{did_you_mean(name, started)}")
    for name, path in plan.weights.items():
        if not path.exists():
            raise ConfigError(f"pipeline.weights.{name}: there is no file or run directory {path}")
        if path.is_file() and name in plan.settings.pictures:
            raise ConfigError(
                f"pipeline.weights.{name}: {path} is a file, and pipeline.pictures needs the run directory of '{name}'"
            )


def _check_report(plan: Plan) -> None:
    """Check the settings of the report: its folder, pictures, comparisons and tables."""
    if plan.settings.report in plan.trainings():
        raise ConfigError(f"pipeline.report: '{plan.settings.report}' is the folder of a stage: choose another name")
    for name in plan.settings.pictures:
        _check_known(name, plan.trainings(), "pipeline.pictures: there is no training stage")
    logs = plan.certifications()
    for pair in plan.settings.compare:
        if len(pair) != 2 or not set(pair) <= set(logs):
            raise ConfigError(
                f"pipeline.compare: {pair} is not a pair of certification stages; there are: {', '.join(logs)}"
            )
    for number in plan.settings.tables:
        if number not in NUMBERS:
            raise ConfigError(
                f"pipeline.tables: table {number} cannot be made from logs: choose from {', '.join(map(str, NUMBERS))}"
            )


def _check_known(name: str, known: list[str], complaint: str) -> None:
    if name not in known:
        raise ConfigError(f"{complaint} '{name}'{did_you_mean(name, known)}")
