import config_toolbox as toolbox
import pytest

from dmaelab.config import LazyCall as L
from dmaelab.config import LazyConfig, check, instantiate
from dmaelab.config.plain import to_config
from dmaelab.utils.errors import ConfigError


def noise(**kwargs):
    return L(toolbox.build_noise)(**kwargs)


def good():
    return to_config(
        {
            "plugins": ["config_toolbox"],
            "train": {"max_iter": 100, "lr": 0.5},
            "model": L(toolbox.Model)(
                depth="${train.max_iter}",
                noise=noise(name="normal", sigma=[0.0, 1]),
                rate=1,
                sizes=(1, 2),
                old_style=None,
                name=None,
                table={"a": 1},
                anything={"what": ["ever"]},
            ),
            "optimizer": L(toolbox.optimizer)(lr="${train.lr}", betas=[0.9, 1]),
            "others": [L(toolbox.open_call)(x=1), L(toolbox.postponed)(x="text"), L(toolbox.optimizer)(_partial_=True)],
        }
    )


def test_a_good_config_passes_and_nothing_is_built():
    built = toolbox.Model.built
    check(
        good(),
        sections={"train": toolbox.Settings},
        allowed=["model", "optimizer", "others"],
        extra={"optimizer": ["params"]},
    )
    assert toolbox.Model.built == built


CASES = [
    (
        {"m": noise(name="normal", sigma=1.0, sigmaa=2)},
        "m.sigmaa: normal has no argument 'sigmaa' (did you mean 'sigma'?)",
    ),
    (
        {"m": noise(name="salt", share=1.0, other=2)},
        "m.other: salt has no argument 'other'; it has: share, value, name",
    ),
    ({"m": noise(name="salt", sigma=0.2)}, "m.sigma: salt has no argument 'sigma'; it has: share, value, name"),
    ({"m": {"n": [noise(name="salt")]}}, "m.n.0: salt needs 'share'"),
    ({"m": L(toolbox.optimizer)()}, "m: optimizer needs 'params' and 'lr'"),
    (
        {"m": noise(name="nromal")},
        "m.name: unknown noise 'nromal' (did you mean 'normal'?); registered: normal, salt; "
        "to use your own noise, list its module in plugins=[...]",
    ),
    ({"m": noise(sigma=0.1)}, "m.name: build_noise needs the name of a noise as text, one of: normal, salt"),
    ({"m": noise(name="normal", sigma="abc")}, "m.sigma: normal expects float | tuple[float, float], got 'abc' (text)"),
    ({"m": noise(name="normal", sigma=True)}, "m.sigma: normal expects float | tuple[float, float], got True (bool)"),
    ({"m": L(toolbox.Model)(depth=1.5)}, "m.depth: Model expects int, got 1.5 (float)"),
    ({"m": L(toolbox.Model)(depth=None)}, "m.depth: Model expects int, got None (None)"),
    ({"m": L(toolbox.Model)(depth=1, pool="max")}, "m.pool: Model expects Literal['gap', 'cls'], got 'max' (text)"),
    (
        {"m": L(toolbox.Model)(depth=1, sizes=["a"])},
        "m.sizes: Model expects collections.abc.Sequence[int], got ['a'] (list)",
    ),
    ({"m": L(toolbox.Model)(depth=1, name=3)}, "m.name: Model expects str | None, got 3 (int)"),
    ({"x": {"lr": 3}, "m": L(toolbox.Model)(depth=1, flag="${x.lr}")}, "m.flag: Model expects bool, got 3 (int)"),
    (
        {"m": {"_target_": "config_toolbox.Modle"}},
        "m._target_: 'config_toolbox' has no 'Modle' (did you mean 'Model'?)",
    ),
    (
        {"m": {"_target_": "dmaelab.registy.builder"}},
        "m._target_: 'dmaelab' has no 'registy' (did you mean 'registry'?)",
    ),
    ({"m": {"_target_": "no_such_module.f"}}, "m._target_: no module named 'no_such_module' on the search path"),
    ({"m": {"_target_": "f"}}, "m._target_: 'f' is not a dotted name such as 'torch.optim.AdamW'"),
    ({"m": {"_target_": 3}}, "m._target_: must be the dotted name of a class or function, not 3"),
    (
        {"m": {"_target_": "config_toolbox.NOT_CALLABLE"}},
        "m._target_: 'config_toolbox.NOT_CALLABLE' cannot be called, name a class or a function",
    ),
    (
        {"train": {"max_iter": 1}, "x": "${train.max_itr}"},
        "x: ${train.max_itr} refers to no key (did you mean 'train.max_iter'?)",
    ),
    ({"x": "${y}", "y": "${x}"}, "x: Recursive interpolation detected"),
    ({"x": {"weights": "???"}}, "x.weights: is '???', give it a value"),
    ({"m": toolbox.Salt(0.1)}, "m is a Salt object: did you forget L? Write L(Salt)(...)"),
    ({"plugins": "x"}, "plugins: write a list of module names, such as ['projects.my_project'], not 'x'"),
    (
        {"plugins": ["no_such_project.part"]},
        "plugins: no_such_project.part: no module named 'no_such_project' on the search path"
        "; run from the folder that holds it, or add that folder to PYTHONPATH",
    ),
]


@pytest.mark.parametrize(("cfg", "message"), CASES)
def test_refused(cfg, message):
    with pytest.raises(ConfigError) as error:
        check(to_config(cfg))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"train": {"max_itr": 1}}, "train.max_itr: train has no key 'max_itr' (did you mean 'max_iter'?)"),
        ({"train": {"lr": 1}}, "train: train needs 'max_iter'"),
        ({}, "train: train needs 'max_iter'"),
        ({"train": {"max_iter": 1e5}}, "train.max_iter: train expects int, got 100000.0 (float)"),
        ({"train": [1]}, "train: is a section with keys, not [1] (list)"),
        ({"train": {"max_iter": 1}, "modle": {}}, "modle: no such section (did you mean 'model'?)"),
        ({"train": {"max_iter": 1}, "zzz": {}}, "zzz: no such section; there are: plugins, train, model"),
    ],
)
def test_sections(cfg, message):
    with pytest.raises(ConfigError) as error:
        check(cfg, sections={"train": toolbox.Settings}, allowed=["model"])
    assert str(error.value) == message


def test_arguments_that_the_program_gives():
    cfg = {"optimizer": L(toolbox.optimizer)(lr=0.1, params=[1])}
    with pytest.raises(ConfigError, match=r"^optimizer\.params: set by the program, remove it from the config$"):
        check(cfg, extra={"optimizer": ["params"]})
    cfg = {"optimizer": L(toolbox.optimizer)(parms=[1])}
    with pytest.raises(ConfigError, match=r"^optimizer\.parms: optimizer has no argument 'parms'"):
        check(cfg, extra={"optimizer": ["params"]})


def test_swapping_a_name_reports_the_arguments_left_over():
    cfg = LazyConfig.apply_overrides({"m": noise(name="normal", sigma=0.1)}, ["m.name=salt", "+m.share=0.5"])
    with pytest.raises(ConfigError, match=r"^m\.sigma: salt has no argument 'sigma'"):
        check(cfg)


def test_plugins_register_before_names_are_looked_up(write, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(tmp_path))
    write(
        "my_plugin/__init__.py",
        """
        from config_toolbox import NOISES

        @NOISES.register("speckle")
        class Speckle:
            def __init__(self, sigma: float): ...
        """,
    )
    cfg = {"plugins": ["my_plugin"], "m": noise(name="speckle", sigma=0.1)}
    try:
        check(cfg)
        assert type(instantiate(cfg["m"])).__name__ == "Speckle"
    finally:
        toolbox.NOISES._obj_map.pop("speckle", None)


def test_a_plugin_that_breaks_is_named(write, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(tmp_path))
    write("broken_plugin.py", "import no_such_dependency\n")
    with pytest.raises(ConfigError) as error:
        check({"plugins": ["broken_plugin"]})
    assert str(error.value) == (
        "plugins: broken_plugin: importing 'broken_plugin' failed: ModuleNotFoundError: No module named"
        " 'no_such_dependency'"
    )


def test_registered_corruptions_and_torch_classes_are_checked():
    import torch

    from dmaelab.corruptions import build_corruption

    check(
        {
            "m": L(build_corruption)(name="gaussian", sigma=(0.0, 0.5)),
            "o": L(torch.optim.AdamW)(lr=1e-3, betas=(0.9, 0.95)),
        },
        extra={"o": ["params"]},
    )
    with pytest.raises(ConfigError, match=r"^m\.sigmaa: gaussian has no argument 'sigmaa' \(did you mean 'sigma'\?\)$"):
        check({"m": L(build_corruption)(name="gaussian", sigmaa=0.5)})
    with pytest.raises(ConfigError, match=r"^o\.lr: AdamW expects .*float.*, got 'fast' \(text\)$"):
        check({"o": L(torch.optim.AdamW)(lr="fast")}, extra={"o": ["params"]})
