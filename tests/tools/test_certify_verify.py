"""tools/certify.py --verify with logs of a plug-in: nothing is imported that a log names."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import dmaelab
from dmaelab.certifiers import CERTIFIERS, Cohen
from dmaelab.corruptions import build_corruption
from dmaelab.smoothing import Smoothing, certify_images

PLUG_IN = """
from pathlib import Path
from dmaelab.certifiers import CERTIFIERS, Cohen
from dmaelab.corruptions import Gaussian
from dmaelab.stats.geometry import GaussianL2

Path("imported").touch()

class MyGeometry(GaussianL2):
    pass

class MyNoise(Gaussian):
    geometry = MyGeometry()

@CERTIFIERS.register("my_certifier")
class MyCertifier(Cohen):
    pass
"""


def image(index):
    """Return an image whose four pixels are the logits of its class."""
    return torch.eye(4)[index].view(1, 2, 2), index


@pytest.fixture
def verify_command(tmp_path):
    """Run the command in a folder that holds a plug-in; return its status, what it printed, what it imported."""

    def run(*arguments):
        (tmp_path / "imported").unlink(missing_ok=True)
        tool = Path(dmaelab.__file__).parents[1] / "tools" / "certify.py"
        command = [sys.executable, str(tool), *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr, (tmp_path / "imported").exists()

    return run


@pytest.fixture
def log_of_plug_in(tmp_path, monkeypatch):
    """Write logs with a certifier, and with a geometry, of a plug-in that their headers name."""
    (tmp_path / "my_plug_in.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    plug_in = importlib.import_module("my_plug_in")
    for name, certifier, noise in (
        ("certifier", plug_in.MyCertifier(20, 300, 0.001), build_corruption("gaussian", sigma=0.25)),
        ("geometry", Cohen(20, 300, 0.001), plug_in.MyNoise(0.25)),
    ):
        certify_images(
            Smoothing(nn.Flatten(), noise, 4), image, range(3), certifier, out=tmp_path / name, progress=False,
            identity={"plugins": ["my_plug_in"]},
        )  # fmt: skip
    yield tmp_path
    del CERTIFIERS._obj_map["my_certifier"], sys.modules["my_plug_in"]


def test_the_command_imports_a_plug_in_only_when_it_is_told_to(log_of_plug_in, verify_command):
    for name, words in (
        ("certifier", "the certifier 'my_certifier' is not known here"),
        ("geometry", "geometry 'my_plug_in.MyGeometry' is not known here"),
    ):
        status, printed, imported = verify_command("--verify", name)
        assert (status, imported) == (2, False), printed
        assert words in printed
        assert "the header names the plug-ins ['my_plug_in']: give --plugin MODULE for those that you trust" in printed
        assert printed.count("\n") == 1
        status, printed, imported = verify_command("--verify", name, "--plugin", "my_plug_in")
        assert (status, imported) == (0, True), printed
        assert "all 3 rows follow from their counts" in printed
    shard = log_of_plug_in / "certifier" / "shard-000-of-001.tsv"
    first, *lines = shard.read_text().splitlines()
    place = first.split("\t").index("radius_full")
    lines[0] = "\t".join(["9.9" if i == place else cell for i, cell in enumerate(lines[0].split("\t"))])
    shard.write_text("\n".join([first, *lines]) + "\n")
    status, printed, _ = verify_command("--verify", "certifier", "--plugin", "my_plug_in")
    assert (status, "radius_full is too large" in printed) == (1, True)


def test_mistyped_plug_ins(verify_command):
    status, printed, _ = verify_command("--verify", "anything", "--plugin", "no_such_module")
    assert (status, "no module named 'no_such_module'" in printed) == (2, True)
    status, printed, _ = verify_command("anything", "--plugin", "my_plug_in")
    assert (status, "--plugin is for --verify" in printed) == (2, True)
