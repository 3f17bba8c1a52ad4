import re
import subprocess
import sys

import config_toolbox as toolbox
import pytest

from dmaelab.config import LazyConfig, diff
from dmaelab.utils.errors import ConfigError

FULL = """
    import math
    from config_toolbox import Model, build_noise, optimizer
    from dmaelab.config import LazyCall as L

    def helper():
        return 3

    _hidden = helper()
    seed = _hidden
    title = "a: b"
    plugins = []
    train = dict(max_iter=100, lr=1e-3, warmup="${.max_iter}", note="1e-3", none=None, betas=(0.9, 0.95))
    model = L(Model)(depth=2, noise=L(build_noise)(name="normal", sigma=(0.0, 0.5)), sizes=[1, "${train.max_iter}"])
"""


def test_load_keeps_public_plain_names(write):
    cfg = LazyConfig.load(write("full.py", FULL))
    assert list(cfg) == ["seed", "title", "plugins", "train", "model"]
    assert cfg.train.warmup == 100
    assert cfg.train.betas == [0.9, 0.95]
    assert cfg.model.noise._target_ == "config_toolbox.build_noise"


def test_yaml_round_trip_keeps_interpolations(write, tmp_path):
    cfg = LazyConfig.load(write("full.py", FULL))
    LazyConfig.save(cfg, tmp_path / "out" / "config.yaml")
    again = LazyConfig.load(tmp_path / "out" / "config.yaml")
    assert again == cfg
    assert diff(again, cfg) == []
    assert "warmup: ${.max_iter}" in (tmp_path / "out" / "config.yaml").read_text()
    changed = LazyConfig.apply_overrides(again, ["train.max_iter=7"])
    assert (changed.train.warmup, changed.model.sizes[1]) == (7, 7)


def test_save_refuses_objects_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("old: 1\n")
    with pytest.raises(ConfigError, match=r"^model is a Salt object"):
        LazyConfig.save({"model": toolbox.Salt(0.1)}, path)
    assert path.read_text() == "old: 1\n"


HEAD = "import config_toolbox as _t, torch\nfrom dmaelab.config import LazyCall as L\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("model = _t.Salt(0.1)", "bad.py: model is a Salt object: did you forget L? Write L(Salt)(...)"),
        (
            "model = L(_t.Model)(depth=1, noise=_t.Salt(0.1))",
            "bad.py: model.noise is a Salt object: did you forget L? Write L(Salt)(...)",
        ),
        (
            "model = L(_t.Model)(depth=1)\nmodel.noise = _t.Settings(3)",
            "bad.py: model.noise is a Settings object: did you forget L? Write L(Settings)(...)",
        ),
        (
            "model = dict(blocks=[dict(noise=(1, torch.nn.Identity()))])",
            "bad.py: model.blocks.0.noise.1 is a Identity object: did you forget L? Write L(Identity)(...)",
        ),
        ("model = L(_t.Model)", "bad.py: model is L(Model) without its arguments: write L(Model)()"),
        (
            "train = dict(act=_t.Salt)",
            "bad.py: train.act is the class Salt: write L(Salt)(...) to build one, or its dotted name as text to name"
            " it",
        ),
        (
            "train = dict(act=_t.optimizer)",
            "bad.py: train.act is the function optimizer: write L(optimizer)(...) to call it, or its dotted name as"
            " text to name it",
        ),
        (
            "act = lambda x: x",
            "bad.py: act is a lambda: move it to an importable module and write its dotted name as text",
        ),
        (
            "train = dict(act=lambda x: x)",
            "bad.py: train.act is a lambda: move it to an importable module and write its dotted name as text",
        ),
        (
            "model = L(lambda: 1)()",
            "bad.py, line 3: a lambda cannot be a target, it cannot be imported: make it a function in an importable"
            " module",
        ),
        (
            "def make(): ...\nmodel = L(make)()",
            "bad.py, line 4: make cannot be imported as 'bad.py.make': move it to an importable module",
        ),
        ("train = dict(dtype=torch.bfloat16)", "bad.py: train.dtype is a torch dtype: write the text 'bfloat16'"),
        (
            "train = dict(x={1, 2})",
            "bad.py: train.x is a set: a config holds text, numbers, bool, None, lists and dicts only",
        ),
        ("train = {3: 4}", "bad.py: train.3: keys are text, write '3'"),
        ("train = dict(x='${y')", "bad.py: train.x: no viable alternative at input '${y'"),
        ("train = dict(", "bad.py, line 3: SyntaxError: '(' was never closed"),
        ("x = 1\ntrain = dict(lr=x / 0)", "bad.py, line 4: ZeroDivisionError: division by zero"),
        ("from config_toolbox import Modle", "ImportError: cannot import name 'Modle' from 'config_toolbox'"),
    ],
)
def test_what_a_config_may_not_hold(write, line, message):
    with pytest.raises(ConfigError) as error:
        LazyConfig.load(write("bad.py", HEAD + line + "\n"))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "x: [1\ny: 2\n", "a.yaml, line 2: "),
        ("a.yaml", "- 1\n- 2\n", "a.yaml: a config is a mapping of sections"),
        ("a.yaml", "x: !!python/object:os.system 1\n", "a.yaml, line 1: could not determine a constructor for the tag"),
        ("a.toml", "", "a.toml: a config is a .py or a .yaml file"),
    ],
)
def test_bad_files(write, name, text, message):
    with pytest.raises(ConfigError) as error:
        LazyConfig.load(write(name, text))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("number", ["12:00:00", "1:30", "-1:30", "1:30.5", "+12:59"])
def test_numbers_in_base_60_are_refused(write, number):
    """YAML would read a time limit of 12:00:00 as 43200, and SLURM that as minutes."""
    for text in (f"a: 1\nslurm:\n  time: {number}\n", f"a: 1\nslurm:\n  - [0, {number}]\n"):
        with pytest.raises(
            ConfigError, match=rf"a\.yaml, line 3: {re.escape(number)} is a number in base 60 for YAML: "
        ):
            LazyConfig.load(write("a.yaml", text))


@pytest.mark.parametrize("text", ["'12:00:00'", '"1:30"', "1-12:00:00", "at 12:30", "2026-01-02 12:30:00", "a:1:2"])
def test_other_texts_with_colons_are_read(write, text):
    cfg = LazyConfig.load(write("a.yaml", f"slurm:\n  time: {text}\n"))
    assert str(cfg.slurm.time).replace("T", " ") == text.strip("'\"")


def test_a_circle_of_aliases_ends(write):
    with pytest.raises(ConfigError):
        LazyConfig.load(write("a.yaml", "a: &x [*x]  # 1:00\n"))


def test_a_text_that_looks_like_a_number_in_base_60_survives(tmp_path):
    LazyConfig.save({"slurm": {"time": "12:00:00"}}, tmp_path / "a.yaml")
    assert LazyConfig.load(tmp_path / "a.yaml").slurm.time == "12:00:00"


def test_missing_file(write):
    with pytest.raises(ConfigError, match=r"^there is no config file nowhere\.py$"):
        LazyConfig.load("nowhere.py")


def test_diff_names_changed_added_and_removed_keys():
    a = {"train": {"lr": 0.1, "clip": 1.0, "betas": (0.9, 0.95)}, "same": [1, {"x": 2}]}
    b = {"train": {"lr": 0.2, "betas": [0.9, 0.999], "ema": True}, "same": [1, {"x": 2}]}
    assert list(map(str, diff(a, b))) == [
        "train.betas is [0.9, 0.95] there, [0.9, 0.999] here",
        "train.clip is 1.0 there, absent here",
        "train.ema is absent there, True here",
        "train.lr is 0.1 there, 0.2 here",
    ]


def test_the_package_imports_no_torch():
    code = "import sys, dmaelab.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
