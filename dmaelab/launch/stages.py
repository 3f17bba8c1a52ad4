"""The settings and the stages of a pipeline, and the copies of stages for further seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dmaelab.engine import certification
from dmaelab.engine.settings import check_out_dir
from dmaelab.launch.cluster.records import JOBS
from dmaelab.utils.errors import ConfigError, did_you_mean
from dmaelab.utils.paths import check_name

DEBUG = "debug"
"""The folder below ``pipeline.out_dir`` into which a trial (``--debug``) writes."""

REPORT = "report"
"""The name of the task that writes the report; no stage may have it."""

RESERVED = (DEBUG, JOBS)


@dataclass(frozen=True)
class Stage:
    """One stage of a pipeline: a certification if ``certify`` is set, else a training.

    Attributes:
        name: name of the stage; the run directory of a training is ``<out_dir>/<name>``.
        config: training or certification config: a name below ``configs/``, or a file.
        overrides: ``key=value`` texts for that config, as on the command line.
        init_from: earlier training stage whose weights to start from. ``"stage:milestone"`` takes its checkpoint of
            that name, a milestone or ``best``.
        certify: earlier training stage whose model is certified.
        label: name of the row in the final table; by default the name of the stage.
        once: do not repeat the stage for every seed, as for a pre-training that all seeds share.
    """

    name: str
    config: str = certification.DEFAULT
    overrides: list[str] = field(default_factory=list)
    init_from: str | None = None
    certify: str | None = None
    label: str | None = None
    once: bool = False

    def __post_init__(self) -> None:
        check_name("the name of a stage", self.name)
        if ":" in self.name or self.name in (*RESERVED, REPORT):
            raise ConfigError(
                f"the name of a stage is '{self.name}': '{DEBUG}' is the folder of trials, '{JOBS}' that of the records"
                f" of jobs, '{REPORT}' is the last task, and ':' stands before the name of a milestone"
            )

    @property
    def source(self) -> str | None:
        """Name of the earlier stage that this one needs, without a milestone; None if it needs none."""
        needed = self.init_from if self.certify is None else self.certify
        return None if needed is None else needed.partition(":")[0]


@dataclass(frozen=True)
class PipelineSettings:
    """The section ``pipeline``.

    Attributes:
        out_dir: folder for everything that the pipeline writes. Pipelines with the same folder share their stages.
        report: name of the folder below ``out_dir`` for tables and pictures; ``""`` writes them to ``out_dir``.
        title: title of the table and the curves.
        radii: columns of the table, in [0,1] pixel units.
        tables: numbers of the paper's tables to print as well.
        table_radii: columns of these tables, in [0,1] pixel units; by default those of the paper.
        compare: pairs of certification stages to compare image by image.
        pictures: training stages whose reconstructions are drawn.
        note: text printed under the tables.
        weights: name of a training stage, or ``stage:milestone`` -> file or run directory that replaces it. The stage
            is then not run. Only a run directory can be certified.
        seeds: number of repetitions of every stage that is not ``once``; tables of the paper then give mean and
            standard deviation.
        processes: number of processes of each training and certification, one per GPU. ``"auto"`` takes all GPUs of
            the machine, or a single process without a GPU. With ``--launcher slurm`` it is the number of jobs that
            share a certification. None is 1, or what the section ``slurm`` says.
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
    processes: int | Literal["auto"] | None = None

    def __post_init__(self) -> None:
        check_out_dir("pipeline.out_dir", self.out_dir)
        if self.report:
            check_name("pipeline.report", self.report)
        if self.report in RESERVED:
            raise ConfigError(f"pipeline.report is '{self.report}', a folder for other things: choose another name")
        if self.seeds < 1:
            raise ConfigError(f"pipeline.seeds is {self.seeds}: it must be at least 1")
        if self.processes not in ("auto", None) and (isinstance(self.processes, str) or self.processes < 1):
            raise ConfigError(f"pipeline.processes is {self.processes!r}: give a number of processes, or 'auto'")


def read_stages(nodes: Sequence[dict[str, Any]]) -> list[Stage]:
    """Return the stages of the section ``stages``, which has a dict for each stage.

    Raises:
        ConfigError: a dict has an unknown key, or no name.
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
    """Return the stages and, for each seed k from 1 to ``seeds - 1``, copies named ``<name>_seed<k>``.

    Stages that are ``once`` are not copied. Seed 0 keeps the original names. So, if a pipeline has been run with one
    seed and is run again with ten, only nine copies are new.

    Raises:
        ConfigError: a stage already has the name of a copy.
    """
    shared = {stage.name for stage in stages if stage.once}
    copies = [
        *stages,
        *(_for_seed(stage, seed, shared) for seed in range(1, seeds) for stage in stages if not stage.once),
    ]
    names = [stage.name for stage in copies]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"stage '{twice[0]}' has the name of another stage's copy for a seed: rename it")
    return copies


def dependents(name: str, stages: Sequence[Stage]) -> list[Stage]:
    """Return the stage of that name and all stages that depend on it, directly or not, in their order."""
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
