"""The section ``slurm`` of a config: what a job asks of SLURM. Only ``--launcher slurm`` reads it."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from omegaconf import DictConfig

from dmaelab.config.plain import interpolated
from dmaelab.utils.errors import ConfigError

# Forms of a time limit, as sbatch takes them: minutes, m:s, h:m:s, d-h, d-h:m, d-h:m:s
_TIME = re.compile(
    r"(?:(?P<d>\d+)-(?P<dh>\d+)(?::(?P<dm>\d+)(?::(?P<ds>\d+))?)?)|(?:(?:(?P<h>\d+):)?(?P<m>\d+):(?P<s>\d+))"
)

# Forms of an amount of memory. sbatch also takes numbers without a unit, as MiB, which few people mean.
_MEM = re.compile(r"0|(?P<number>\d+)(?P<unit>[kmgt])b?", re.IGNORECASE)
_MIB = {"k": 2**-10, "m": 1, "g": 2**10, "t": 2**20}

_OPTION = re.compile(r"[a-z]+(?:-[a-z]+)*")
# Options that the launcher sets, or with which it could not follow its jobs -> what to use instead
_OURS = {
    **{
        name: f": use slurm.{name}"
        for name in ("partition", "account", "qos", "constraint", "exclude", "nodes", "mem", "time")
    },
    "gpus-per-node": ": use slurm.gpus_per_node",
    "gpus": ": use slurm.gpus_per_node",
    "ntasks-per-node": ": use slurm.tasks_per_node",
    "ntasks": ": use slurm.nodes and slurm.tasks_per_node",
    "cpus-per-task": ": use slurm.cpus_per_task",
    "signal": ": use slurm.signal_delay",
    **dict.fromkeys(
        (
            "array",
            "chdir",
            "clusters",
            "dependency",
            "error",
            "export",
            "export-file",
            "get-user-env",
            "gid",
            "help",
            "job-name",
            "kill-on-invalid-dep",
            "no-kill",
            "no-requeue",
            "open-mode",
            "output",
            "parsable",
            "quiet",
            "requeue",
            "test-only",
            "time-min",
            "uid",
            "usage",
            "verbose",
            "version",
            "wait",
            "wrap",
        ),
        "",
    ),
}


@dataclass(frozen=True)
class SlurmSettings:
    """The section ``slurm``: the resources of a job.

    A training runs in ``nodes`` x ``tasks_per_node`` processes, which form one process group. A certification runs as
    an array of so many jobs with one process and at most one GPU each. Tables and reports are jobs of that size, too,
    because a partition may refuse those without a GPU.

    Attributes:
        partition, account, qos, constraint, exclude: as the options of sbatch; None leaves them to the site's defaults.
        nodes: number of machines of a training.
        gpus_per_node: GPUs of each machine; 0 for a cluster without GPUs.
        tasks_per_node: processes of each machine; None means one for each GPU, and a single one without GPUs.
        cpus_per_task: cores of each process. Loader workers (``train.num_workers``) share them.
        mem: memory of each machine, such as ``"64GB"``, or ``"0"`` for all that it has; None leaves it to the site's
            default. A job with one process gets its share: this, divided by the processes of a machine, and the site's
            default in place of ``"0"``.
        time: time limit of each job: minutes, or a text such as ``"12:00:00"`` or ``"2-00:00:00"`` (days-h:m:s), where
            ``"12:00"`` is 12 minutes. A job that needs longer saves its state, is put into the queue again, and goes
            on.
        signal_delay: seconds before the time limit at which a job is told to save its state. It must be longer than a
            training step and a checkpoint together.
        array_parallelism: number of jobs of one array that may run at the same time.
        extra: further options of sbatch by their long names, such as ``{"mail-type": "FAIL"}``.

    Shell commands to run before Python starts are no part of this section, because an override must execute nothing.
    They stand in the site's own file, see :mod:`dmaelab.launch.cluster.site`.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    nodes: int = 1
    gpus_per_node: int = 1
    tasks_per_node: int | None = None
    cpus_per_task: int = 8
    mem: str | None = None
    time: int | str = "1-00:00:00"
    signal_delay: int = 120
    array_parallelism: int = 64
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in [*vars(self).items(), *((f"extra.{key}", value) for key, value in self.extra.items())]:
            if isinstance(value, str) and not (value and value.isprintable()):
                raise ConfigError(f"slurm.{name} is {value!r}: give a text in one line")
        for key, value in self.extra.items():
            if not _OPTION.fullmatch(str(key)):
                raise ConfigError(f"slurm.extra: {key!r} is no long option of sbatch, such as 'mail-type'")
            # Such as the path of a bundle that says what to run; sbatch takes the first letters of an option for it.
            if key.startswith("cont") and key[:9] == "container"[: len(key)]:
                raise ConfigError(f"slurm.extra: '{key}' cannot be set here, because an override must execute nothing")
            ours = key if key in _OURS else next((name for name in _OURS if name.startswith(key)), None)
            if ours is not None:  # sbatch takes the first letters of an option for the option
                raise ConfigError(f"slurm.extra: '{key}' cannot be set here" + _OURS[ours])
            if value is False or not isinstance(value, (str, int, float)):
                raise ConfigError(
                    f"slurm.extra.{key} is {value!r}: give a text or a number, or true for an option without a value"
                )
        for name in ("nodes", "tasks_per_node", "cpus_per_task", "signal_delay", "array_parallelism"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"slurm.{name} is {value}: it must be at least 1")
        if self.gpus_per_node < 0:
            raise ConfigError(f"slurm.gpus_per_node is {self.gpus_per_node}: it must not be negative")
        if self.mem is not None and not _MEM.fullmatch(str(self.mem)):
            raise ConfigError(f"slurm.mem is '{self.mem}': give a number with its unit, such as '64GB' or '500M'")
        if 60 * self.minutes <= self.signal_delay:
            raise ConfigError(
                f"slurm.time is {self.time} and slurm.signal_delay is {self.signal_delay} s: the time limit must be"
                " longer, else the job would be told to stop when it starts"
            )

    @classmethod
    def of(cls, *sections: Mapping[str, Any]) -> Self:
        """Return the settings of several sections, of which later ones win; raises ``ConfigError``."""
        return cls(**{key: value for section in sections for key, value in section.items()})

    @classmethod
    def of_config(cls, cfg: DictConfig) -> Self:
        """Return the settings in the section ``slurm`` of a config, which it need not have; raises ``ConfigError``."""
        return cls.of(interpolated(cfg.get("slurm")) or {})

    @property
    def minutes(self) -> int:
        """The time limit in minutes, rounded up."""
        if isinstance(self.time, int) or self.time.isdecimal():
            return int(self.time)
        found = _TIME.fullmatch(self.time)
        if found is None:
            raise ConfigError(
                f"slurm.time is '{self.time}': give minutes, or a text such as '12:00:00' or '2-00:00:00' (days-h:m:s)"
            )
        part = {name: int(text or 0) for name, text in found.groupdict().items()}
        hours = 24 * part["d"] + part["dh"] + part["h"]
        seconds = 3600 * hours + 60 * (part["dm"] + part["m"]) + part["ds"] + part["s"]
        return -(-seconds // 60)

    @property
    def mem_of_one(self) -> str | None:
        """Memory of a job with one process, as sbatch takes it; None leaves it to the site's default."""
        found = _MEM.fullmatch(str(self.mem))
        if found is None or not int(found["number"] or 0):
            return None
        mib = int(found["number"]) * _MIB[found["unit"].lower()]
        return f"{max(1, math.ceil(mib / self.tasks))}M"

    @property
    def tasks(self) -> int:
        """Processes of each machine of a training."""
        return self.tasks_per_node or max(1, self.gpus_per_node)

    @property
    def processes(self) -> int:
        """Processes of a training, and jobs of a certification unless ``--processes`` says otherwise."""
        return self.nodes * self.tasks
