"""Tests that need a real SLURM. `make test-slurm` starts a throw-away one for them, where its programs are installed.

A SLURM counts only if SLURM_CONF names it. So the tests send no jobs to a cluster that merely happens to be there.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import works

from dmaelab.launch.cluster.progress import images_done, steps_saved
from dmaelab.launch.cluster.status import TaskStatus, status_text


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and of no other."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("slurm")


def _answers() -> bool:
    try:
        return subprocess.run(["sinfo"], capture_output=True, timeout=30).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


@pytest.fixture(scope="session", autouse=True)
def slurm() -> None:
    """Skip the tests where no SLURM answers."""
    if "SLURM_CONF" not in os.environ or not _answers():
        pytest.skip("no SLURM answers: make test-slurm starts one after dev/slurm/start-slurm.sh install")


SITE = """
slurm = dict(gpus_per_node=0, cpus_per_task=1, time=20, signal_delay=30, exclude="0x7f000002")
setup = ["echo the commands of the site"]
"""

CHAIN = """
_small = ["train.precision=fp32", "train.device=cpu", "train.eval_images=40", "train.max_iter=20", "train.log_period=5"]
_mae = ["model.encoder.width=16", "model.encoder.depth=1", "model.decoder.width=16", *_small]
_classifier = ["model.classifier.backbone.width=16", "model.classifier.backbone.depth=1", *_small]
_quick = ["dataset.split=test", "certifier.n=200", "certifier.n0=20", "certify.batch_size=100", "certify.device=cpu"]
pipeline = dict(out_dir="out", title="A chain", processes=2, radii=[0.0, 0.25], report="report")
stages = [
    dict(name="pretrain", config="digits/pretrain", overrides=_mae, once=True),
    dict(name="continue", config="digits/pretrain", overrides=_mae, init_from="pretrain", once=True),
    dict(name="rs", config="digits/finetune_rs", overrides=_classifier, init_from="continue"),
    dict(name="certify_rs", certify="rs", overrides=[*_quick, 'certify.subset={"count": 8}']),
]
"""

BROKEN = f"""{CHAIN}
del stages[1]["init_from"]
stages[1]["overrides"] = [*_mae, "train.init_from=LATER"]
"""


@pytest.fixture(scope="session")
def site(slurm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Describe the throw-away SLURM in a site's file, and let jobs find the plug-in of the tests."""
    path = tmp_path_factory.mktemp("site") / "slurm.py"
    path.write_text(SITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DMAELAB_SLURM", str(path))
        patch.syspath_prepend(str(Path(__file__).parents[1]))
        yield path


def killed(out: Path) -> None:
    """Submit the training that is to be killed, or that continues afterwards."""
    works.train(out / "killed", "train.checkpoint_period=5")


def broken(out: Path) -> None:
    """Submit the chain whose second stage needs a file that comes later."""
    works.pipeline(out / "broken.py", f"pipeline.out_dir={out / 'broken'}", "pipeline.processes=1")


@pytest.fixture(scope="session")
def submitted(site: Path, classifier_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Submit all works and set a trap for those that are to be interrupted; return the folder of the runs."""
    out = tmp_path_factory.mktemp("works")
    (out / "chain.py").write_text(CHAIN)
    (out / "broken.py").write_text(BROKEN.replace("LATER", str(out / "later.pth")))

    works.train(out / "limited", "slurm.time=2", "slurm.signal_delay=60", steps=works.LONG)
    works.train(out / "signalled")
    works.train(out / "terminated")
    works.train(out / "requeued")
    works.train(out / "preempted", "slurm.exclude='0x7f000001'", "slurm.cpus_per_task=16", "train.num_workers=1")
    killed(out)
    works.train(out / "cancelled", steps=10**5)
    works.certify(classifier_run, "parts", 4, "certifier.n=1000", 'certify.subset={"count": 12}')
    works.certify(classifier_run, "signalled", 2, "certifier.n=20000", 'certify.subset={"count": 30}')
    broken(out)
    works.pipeline(out / "chain.py", f"pipeline.out_dir={out / 'chain'}", "pipeline.seeds=2")
    both = ["slurm.exclude=None", "slurm.nodes=2", "slurm.tasks_per_node=2", "train.micro_batch=8"]
    works.train(out / "together", *both, steps=20, slow=False)
    works.train(out / "one_killed", *both[:2], "slurm.tasks_per_node=1", steps=10**5)
    works.probe(out / "probe")
    works.train(out / "one_broken", *both[:2], "slurm.tasks_per_node=1", "plugins=['broken_node']", slow=False)
    works.evaluate(classifier_run)

    def trap(name: str, act: object) -> None:
        works.when(lambda: works.in_its_steps(out / name), act)  # type: ignore[arg-type]

    trap("signalled", lambda: works.run("scancel", "--signal=USR2", works.job_id(out / "signalled")))
    trap("terminated", lambda: works.run("scancel", "--signal=TERM", works.job_id(out / "terminated")))
    trap("requeued", lambda: works.run("scontrol", "requeue", works.job_id(out / "requeued")))
    high = ["sbatch", "-p", "high", "-w", "0x7f000002", "-c", "16", "-o", "/dev/null", "--wrap", "sleep 2"]
    trap("preempted", lambda: works.run(*high))
    trap("one_killed", lambda: os.kill(works.work_pid(out / "one_killed", rank=1), signal.SIGKILL))
    works.when(lambda: steps_saved(out / "killed") > 0, lambda: os.kill(works.work_pid(out / "killed"), signal.SIGKILL))
    log = classifier_run / "certify/signalled"
    works.when(
        lambda: images_done(log, (0, 2)) > 1,
        lambda: works.run("scancel", "--signal=USR2", works.job_id(log)),
    )
    return out


@pytest.fixture(scope="session")
def failed(submitted: Path) -> dict[str, tuple[list[TaskStatus], str]]:
    """Wait until the works that must fail have failed, and give their commands again; return how they were before."""
    said = {name: (works.wait(submitted / name), status_text(submitted / name)) for name in ("killed", "broken")}
    shutil.copy(submitted / "broken/pretrain/model_final.pth", submitted / "later.pth")
    killed(submitted)
    broken(submitted)
    return said
