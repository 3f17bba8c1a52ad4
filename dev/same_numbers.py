#!/usr/bin/env python
"""Train and certify in small, and print a hash of every tensor file and every log; or compare with another commit.

    python dev/same_numbers.py                    # the hashes of this tree
    python dev/same_numbers.py --against HEAD~3   # this tree and that commit, both run now, on this machine

Run it with ``--against`` after a change of the code's structure: not one number may differ. The script trains and
certifies in both trees itself. It uses only the command line of each tree, so that one script fits both, with the
interpreter that runs the script and one thread for each process. It compares the names and the bytes of all tensors in
``model_final.pth``, the values in ``metrics.jsonl``, and the rows of the certification logs, except measured times.
Headers and other files may differ.

Exit status: 0 if all is equal, 1 if anything differs, 2 if a command failed.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
TIMES = ("images_per_second", "data_wait", "memory_gib", "time")

_TRAIN = ["train.log_period=4", "train.num_workers=0"]
_FINETUNE = ["train.init_from=runs/pretrain", "train.max_iter=40", "train.batch_size=64", "train.eval_period=20"]
_PROBE = [
    "model.classifier.backbone.pool=cls", "model.classifier.head=bn_linear", "model.train_backbone=False",
    "optimizer._target_=dmaelab.solver.build_lars", "~optimizer.betas", "~optimizer.no_decay",
    "~optimizer.weight_decay",
]  # fmt: skip

# Name of the run directory -> config, processes, overrides; each may start from those above it.
TRAININGS: dict[str, tuple[str, int, list[str]]] = {
    "pretrain": ("digits/pretrain", 1, ["train.max_iter=40", "train.ema_decay=0.9", "train.clip_grad=1.0"]),
    "pretrain_two_ranks": ("digits/pretrain", 2, ["train.max_iter=12", "train.accum_steps=2"]),
    "resumed": ("digits/pretrain", 1, ["train.max_iter=400", "train.checkpoint_period=4", "train.ema_decay=0.9"]),
    "rs": ("digits/finetune_rs", 1, [*_FINETUNE, "train.precision=bf16"]),
    "cr": ("digits/finetune_cr", 1, [*_FINETUNE, "train.clip_grad=1.0", "train.best_metric=noisy_accuracy"]),
    "cr_two_ranks": ("digits/finetune_cr", 2, _FINETUNE),
    "probe": ("digits/finetune_rs", 1, [*_FINETUNE, *_PROBE]),
}
KILLED = "resumed"

_FEW = ['certify.subset={"count": 12}', "certify.batch_size=200"]
# Predict takes no n0. Older trees have one in the config; newer ones do not, and refuse to delete what is not there.
_NO_N0 = ["certifier.n0=1", "~certifier.n0"]
_SEQUENTIAL = ["certifier.name=sequential", "certifier.n=400"]

# Name of the log -> run, arguments of the command.
CERTIFICATIONS: dict[str, tuple[str, list[str]]] = {
    "cohen": ("rs", ["certifier.n=400"]),
    "cohen_bf16": ("cr", ["certifier.n=400", "certify.precision=bf16"]),
    "cohen_skip": ("cr", ["certifier.n=400", "certifier.skip_wrong=True"]),
    "cohen_two_ranks": ("cr_two_ranks", ["certifier.n=400"]),
    "cohen_processes": ("rs", ["certifier.n=400", "--processes", "2"]),
    "probe": ("probe", ["certifier.n=400"]),
    "grid": ("cr", _SEQUENTIAL),
    "target": ("cr", [*_SEQUENTIAL, "certifier.mode=target", "certifier.radii=[0.25]"]),
    "radius": ("cr", [*_SEQUENTIAL, "certifier.mode=radius"]),
    "predict": ("rs", [*_NO_N0, "certifier.name=predict", "certifier.n=200"]),
    "laplace": ("rs", ["certifier.n=400", "corruption.name=laplace"]),
    "uniform": ("rs", ["certifier.n=400", "corruption.name=uniform"]),
    "quantised": ("rs", ["certifier.n=400", "corruption.name=quantised_gaussian"]),
}


class Tree:
    """One checkout, and the folder that its commands run in.

    Args:
        root: of the checkout.
        work: an empty folder.
    """

    def __init__(self, root: Path, work: Path) -> None:
        self.root, self.work = root, work
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), "CUDA_VISIBLE_DEVICES": ""}

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start the interpreter with these arguments, its output in ``output.txt``."""
        with open(self.work / "output.txt", "a") as output:
            print("$ python", *arguments, file=output, flush=True)
            return subprocess.Popen(
                [sys.executable, *arguments], cwd=self.work, env=self.environment, stdout=output, stderr=output
            )

    def run(self, *arguments: str) -> None:
        """Run the interpreter; SystemExit with the end of its output if it fails."""
        if self.start(*arguments).wait():
            end = "\n".join((self.work / "output.txt").read_text().splitlines()[-12:])
            print(f"a command failed in {self.root}:\n{end}", file=sys.stderr)
            raise SystemExit(2)

    def train(self, name: str) -> None:
        """Run one of :data:`TRAININGS`."""
        config, processes, overrides = TRAININGS[name]
        tool = str(self.root / "tools" / "train_net.py")
        command = [tool, "--config-file", config, *_TRAIN, f"train.out_dir=runs/{name}", *overrides]
        if processes > 1:
            command = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *command]
        if name == KILLED:
            self._kill(command, self.work / "runs" / name)
            command.append("--resume")
        self.run(*command)

    def _kill(self, command: list[str], run: Path) -> None:
        """Start a training and kill it without a warning once it has saved something."""
        process = self.start(*command)
        while process.poll() is None and not list(run.glob("checkpoints/step_*.pth")):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            print(f"{run} failed, or ended before it could be killed, see {self.work}/output.txt", file=sys.stderr)
            raise SystemExit(2)

    def certify(self, name: str) -> None:
        """Run one of :data:`CERTIFICATIONS`."""
        run, arguments = CERTIFICATIONS[name]
        self.run(str(self.root / "tools" / "certify.py"), f"runs/{run}", f"certify.name={name}", *_FEW, *arguments)

    def values(self) -> dict[str, dict[str, str]]:
        """Return what its commands have written: file -> name of a tensor, record or row -> its hash."""
        found = {}
        for path in sorted((self.work / "runs").rglob("*")):
            if path.name == "model_final.pth":
                found[str(path.relative_to(self.work))] = tensors(path)
            elif path.name == "metrics.jsonl":
                found[str(path.relative_to(self.work))] = records(path)
            elif path.name == "header.json":
                found[str(path.parent.relative_to(self.work))] = rows(path.parent)
        return found


def tensors(path: Path) -> dict[str, str]:
    """Return the hash of each tensor in a file of weights, by its name."""
    state = torch.load(path, map_location="cpu", weights_only=True)["model"]
    return {name: _hash(f"{value.dtype}{list(value.shape)}".encode(), _bytes(value)) for name, value in state.items()}


def records(path: Path) -> dict[str, str]:
    """Return the hash of each record of a training, by its step, without what measures time."""
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        record = {key: value for key, value in sorted(json.loads(line).items()) if key not in TIMES}
        found[f"step {record['step']}"] = _hash(json.dumps(record).encode())
    return found


def rows(folder: Path) -> dict[str, str]:
    """Return the hash of each row of a certification, by its image, without the time; columns by name, in any order."""
    found = {}
    for path in sorted(folder.glob("shard-*.tsv")):
        columns, *lines = [line.split("\t") for line in path.read_text().splitlines()]
        for line in lines:
            row = {name: cell for name, cell in sorted(zip(columns, line, strict=True)) if name not in TIMES}
            found[f"image {row['idx']}"] = _hash(json.dumps(row).encode())
    return found


def _bytes(value: torch.Tensor) -> bytes:
    return value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _hash(*parts: bytes) -> str:
    return hashlib.blake2b(b"".join(parts), digest_size=8).hexdigest()


def differences(here: dict[str, dict[str, str]], there: dict[str, dict[str, str]]) -> list[str]:
    """Return a line for each file whose values are not the same."""
    lines = []
    for file in sorted(here.keys() | there.keys()):
        if file not in here or file not in there:
            lines.append(f"{file}: only {'here' if file in here else 'there'}")
            continue
        a, b = here[file], there[file]
        if changed := [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]:
            lines.append(f"{file}: {len(changed)} of {len(a.keys() | b.keys())} differ, first {changed[0]}")
    return lines


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Check a commit out into a temporary worktree, and remove it after."""
    with tempfile.TemporaryDirectory(prefix="same-numbers-") as folder:
        root = Path(folder) / "tree"
        added = ["git", "-C", str(ROOT), "worktree", "add", "--quiet", "--detach", str(root), commit]
        if subprocess.run(added, check=False).returncode:
            raise SystemExit(2)
        try:
            yield root
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(root)], check=False)


def run_all(trees: list[Tree]) -> None:
    """Run every training and certification, in all trees at the same time."""
    with ThreadPoolExecutor(len(trees)) as pool:
        for name in TRAININGS:
            list(pool.map(lambda tree, name=name: tree.train(name), trees))
            print(f"trained {name}", file=sys.stderr, flush=True)
        for name in CERTIFICATIONS:
            list(pool.map(lambda tree, name=name: tree.certify(name), trees))
            print(f"certified {name}", file=sys.stderr, flush=True)


def main() -> None:
    """Run this tree, and another one to compare with if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="COMMIT", help="also run this commit, and compare")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="same-numbers-") as folder:
        here, there = Path(folder) / "here", Path(folder) / "there"
        here.mkdir()
        there.mkdir()
        if args.against is None:
            tree = Tree(ROOT, here)
            run_all([tree])
            for file, found in tree.values().items():
                print(_hash(json.dumps(found).encode()), file)
            return
        with checkout(args.against) as root:
            trees = Tree(ROOT, here), Tree(root, there)
            run_all(list(trees))
            values = [tree.values() for tree in trees]
    lines = differences(*values)
    print(
        "\n".join(lines)
        or f"equal: {sum(map(len, values[0].values()))} tensors, records and rows in {len(values[0])} files"
    )
    raise SystemExit(1 if lines else 0)


if __name__ == "__main__":
    main()
