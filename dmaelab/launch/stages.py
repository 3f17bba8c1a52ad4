"""What a pipeline consists of: its settings and its stages, and the copies of the stages for several seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dmaelab.engine import certification
from dmaelab.utils.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Stage:
    """One stage of a pipeline: a training, or with ``certify`` a certification.

    Attributes:
        name: of the stage; a training's run directory is ``<out_dir>/<name>``.
        config: training or certification config, by name or file.
        overrides: of that config, as on the command line.
        init_from: earlier training stage to start from; ``"stage:milestone"`` takes a milestone of it, or its ``best``.
        certify: earlier training stage whose model is certified.
        label: row of the final table; the name by default.
        once: not repeated for every seed: a pre-training that all of them share.
    """

    name: str
    config: str = certification.DEFAULT
    overrides: list[str] = field(default_factory=list)
    init_from: str | None = None
    certify: str | None = None
    label: str | None = None
    once: bool = False

    @property
    def source(self) -> str | None:
        """The earlier stage that this one needs, without the name of a milestone."""
        needed = self.init_from if self.certify is None else self.certify
        return None if needed is None else needed.partition(":")[0]


@dataclass(frozen=True)
class PipelineSettings:
    """The section ``pipeline``.

    Attributes:
        out_dir: everything is written below it. Pipelines that share it share their finished stages.
        report: folder below ``out_dir`` for tables and pictures.
        title: over table and curves.
        radii: columns of the table, in [0,1] pixel units.
        tables: numbers of the paper's tables to print as well.
        table_radii: their columns; those of the paper by default.
        compare: pairs of certification stages that are compared image by image.
        pictures: training stages whose reconstructions are drawn.
        note: printed under the table.
        weights: training stage, or ``stage:milestone`` of one -> file or run directory to take in its place: the
            stage is not run. Only a run directory can be certified.
        seeds: repetitions of every stage that is not ``once``; tables then give mean and standard deviation.
        processes: of each training and certification, one per GPU; ``"auto"``: all GPUs of the machine, one process
            without any.
    """

    out_dir: str
    report: str = ""
    title: str = ""
    radii: list[float] = field(default_factory=lambda: [0.0, 0.25, 0.5, 0.75, 1.0])
    tables: list[int] = field(default_factory=list)
    table_radii: list[float] | None = None
    compare: list[list[str]] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    note: str = ""
    weights: dict[str, str | None] = field(default_factory=dict)
    seeds: int = 1
    processes: int | Literal["auto"] = 1

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ConfigError(f"pipeline.seeds is {self.seeds}: it must be at least 1")
        if self.processes != "auto" and (isinstance(self.processes, str) or self.processes < 1):
            raise ConfigError(f"pipeline.processes is {self.processes!r}: give a number of processes, or 'auto'")


def read_stages(nodes: Sequence[dict[str, Any]]) -> list[Stage]:
    """Return the stages of the section ``stages``, a dict for each.

    Raises:
        ConfigError: a key that a stage does not have, or a stage without a name.
    """
    known = list(Stage.__dataclass_fields__)
    for number, node in enumerate(nodes):
        for key in node:
            if key not in known:
                raise ConfigError(f"stages.{number}.{key}: a stage has no key '{key}'{did_you_mean(key, known)}")
        if "name" not in node:
            raise ConfigError(f"stages.{number}: a stage needs a name")
    return [Stage(**node) for node in nodes]


def repeated(stages: Sequence[Stage], seeds: int) -> list[Stage]:
    """Return the stages with a copy of each for every further seed, ``<name>_seed<k>``; seed 0 keeps its name.

    So a pipeline of one seed that is run again with ten adds nine.
    """
    shared = {stage.name for stage in stages if stage.once}
    copies = [
        *stages,
        *(_for_seed(stage, seed, shared) for seed in range(1, seeds) for stage in stages if not stage.once),
    ]
    names = [stage.name for stage in copies]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"stage '{twice[0]}' has the name of another one's copy for a seed: call it otherwise")
    return copies


def dependents(name: str, stages: Sequence[Stage]) -> list[Stage]:
    """Return the stage of that name and all that need it, directly or not, in their order."""
    found: list[Stage] = []
    for stage in stages:
        if stage.name == name or stage.source in [earlier.name for earlier in found]:
            found.append(stage)
    return found


def _for_seed(stage: Stage, seed: int, shared: set[str]) -> Stage:
    def own(name: str | None) -> str | None:
        base, colon, milestone = (name or "").partition(":")
        return name if name is None or base in shared else f"{base}_seed{seed}{colon}{milestone}"

    section = "train" if stage.certify is None else "certify"
    return replace(
        stage,
        name=f"{stage.name}_seed{seed}",
        overrides=[*stage.overrides, f"{section}.seed={seed}"],
        init_from=own(stage.init_from),
        certify=own(stage.certify),
        label=f"{stage.label or stage.name} (seed {seed})",
    )
