"""The four steps of projects/README.md, followed to the letter in a copy of the checkout."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "projects" / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def followed(tmp_path):
    """A copy of the checkout with the files that the steps name."""
    for folder in ("dmaelab", "tools", "configs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for block in blocks("python"):
        path = tmp_path / block.split("\n")[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
    return tmp_path


@pytest.mark.slow
def test_the_steps_work(followed):
    """``python`` is the one that runs this test."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    (commands,) = blocks("bash")
    outputs = []
    for command in commands.splitlines():
        done = subprocess.run(
            command, shell=True, cwd=followed, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        outputs.append(done.stdout)
    tests, listing, dry_run, _ = outputs
    assert "1 passed" in tests
    assert re.search(r"banding +Gaussian noise that all pixels of a row share", listing)
    assert "the config is fine" in dry_run
    run = followed / "runs" / "my_project" / "pretrain"
    assert (run / "model_final.pth").is_file()
    assert "projects.my_project" in (run / "config.yaml").read_text()


def test_the_table_names_what_exists():
    import dmaelab
    from dmaelab import testing

    rows = re.findall(r"^\| `([A-Z]+)` \| `([\w.]+)`.* \| `(check_\w+)` \|$", README, re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == sorted(name for name in dmaelab.__all__ if name.isupper())
    for registry, base, check in rows:
        module, _, name = base.rpartition(".")
        assert hasattr(__import__(module, fromlist=[name]), name)
        assert callable(getattr(testing, check))
        assert hasattr(getattr(dmaelab, registry), "names")
