import builtins
import sys

import pytest

from dmaelab.config import LazyConfig
from dmaelab.utils.errors import ConfigError


@pytest.fixture
def folder(write):
    write("common/train.py", "_secret = 5\ntrain = dict(max_iter=10, nested=dict(a=1))\n")
    write(
        "common/model.py", "from .train import train\ntrain['max_iter'] = 99\nmodel = dict(width=train['max_iter'])\n"
    )
    write("base.py", "from common_nowhere import x\n")
    return write


def test_each_importer_gets_values_of_its_own(folder):
    path = folder(
        "runs/a.py",
        """
        from ..common.model import model
        from ..common.train import train
        from ..common.train import train as other, _secret
        train.nested.a = _secret
        """,
    )
    cfg = LazyConfig.load(path)
    assert cfg == {
        "model": {"width": 99},
        "train": {"max_iter": 10, "nested": {"a": 5}},
        "other": {"max_iter": 10, "nested": {"a": 1}},
    }
    assert LazyConfig.load(path) == cfg


def test_a_path_with_dots_finds_the_same_files(folder, monkeypatch):
    path = folder("runs/deep/a.py", "from ...common.train import train\n")
    monkeypatch.chdir(path.parent)
    assert LazyConfig.load("../../runs/deep/a.py").train.max_iter == 10


def test_nested_load_inside_a_config(folder):
    folder("base.yaml", "train: {lr: 1}\n")
    path = folder(
        "a.py",
        "from dmaelab.config import LazyConfig\n_base = LazyConfig.load('base.yaml')\ntrain = _base.train\ntrain.lr ="
        " 2\n",
    )
    assert LazyConfig.load(path) == {"train": {"lr": 2}}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "from ..common.train import trian",
            "runs/a.py, line 1: config ..common.train has no 'trian' (did you mean 'train'?)",
        ),
        (
            "from ..common.trian import train",
            "runs/a.py, line 1: there is no config common/trian.py (did you mean 'train'?)",
        ),
        (
            "from . import train",
            "runs/a.py, line 1: import from another config by file and name, as in 'from .base import model, train'",
        ),
        (
            "from .b import *",
            "runs/a.py, line 1: import from another config by file and name, as in 'from .base import model, train'",
        ),
        (
            "\nfrom ..base import x",
            "runs/a.py, line 2: base.py, line 1: ModuleNotFoundError: No module named 'common_nowhere'",
        ),
        ("from .a import x", "runs/a.py, line 1: circular import: runs/a.py -> runs/a.py"),
    ],
)
def test_errors_name_file_and_line_and_leave_imports_alone(folder, line, message):
    path = folder("runs/a.py", line + "\n")
    before = (builtins.__import__, list(sys.meta_path), list(sys.path_hooks), set(sys.modules))
    with pytest.raises(ConfigError) as error:
        LazyConfig.load(path)
    assert str(error.value) == message
    assert (builtins.__import__, list(sys.meta_path), list(sys.path_hooks), set(sys.modules)) == before
    assert not list(path.parent.glob("__pycache__"))
