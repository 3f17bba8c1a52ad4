import functools

import config_toolbox as toolbox
import pytest

from dmaelab.config import LazyCall as L
from dmaelab.config import instantiate
from dmaelab.config.plain import to_config
from dmaelab.utils.errors import ConfigError, UserError


def test_builds_inside_out_with_plain_containers():
    cfg = to_config(
        {
            "width": 3,
            "model": L(toolbox.Model)(
                depth="${width}",
                noise=L(toolbox.build_noise)(name="salt", share="${.value}", value=2),
                sizes=(1, 2),
                anything={"list": [L(toolbox.Normal)(sigma=0.5)], "link": "${width}"},
            ),
        }
    )
    model = instantiate(cfg.model)
    assert model.arguments["depth"] == 3
    assert (model.arguments["noise"].share, model.arguments["noise"].value) == (2, 2)
    assert type(model.arguments["sizes"]) is list
    assert type(model.arguments["anything"]) is dict
    assert model.arguments["anything"]["list"][0].sigma == 0.5
    assert model.arguments["anything"]["link"] == 3
    whole = instantiate(cfg)
    assert type(whole) is dict
    assert isinstance(whole["model"], toolbox.Model)


def test_partial_and_extra():
    node = L(toolbox.optimizer)(lr=0.1)
    assert instantiate(node, params=(parameter := object(),)) == ((parameter,), 0.1, (0.9, 0.999))
    partial = instantiate({**node, "_partial_": True})
    assert isinstance(partial, functools.partial)
    assert partial(params=1) == (1, 0.1, (0.9, 0.999))


def test_plain_section_becomes_its_values():
    cfg = to_config({"lr": 1, "train": {"a": "${lr}", "b": [1, "${.0}"]}})
    assert instantiate(cfg.train) == {"a": 1, "b": [1, 1]}
    assert instantiate(None) is None


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            L(toolbox.Model)(depth=1, noise=L(toolbox.build_noise)(name="normal", sigma=-1)),
            "top.model.noise: sigma is -1: give a number >= 0",
        ),
        (L(toolbox.failing)(x=3), "top.model: config_toolbox.failing failed: RuntimeError: no luck with 3"),
        (L(toolbox.Model)(depht=1), "top.model.depht: Model has no argument 'depht' (did you mean 'depth'?)"),
        (L(toolbox.Model)(depth="${nowhere}"), "top.model.depth: ${nowhere} refers to no key"),
        (L("config_toolbox.Modl")(), "top.model._target_: 'config_toolbox' has no 'Modl' (did you mean 'Model'?)"),
    ],
)
def test_errors_carry_the_full_key_path(node, message):
    cfg = to_config({"top": {"model": node}})
    for part in (cfg, cfg.top, cfg.top.model):
        with pytest.raises(UserError) as error:
            instantiate(part)
        assert str(error.value) == message


def test_extra_needs_a_target_and_a_free_argument():
    with pytest.raises(ConfigError, match=r"^train: has no _target_ that could take params$"):
        instantiate(to_config({"train": {"a": 1}}).train, params=1)
    with pytest.raises(ConfigError, match=r"^lr: set by the program, remove it from the config$"):
        instantiate(L(toolbox.optimizer)(lr=0.1, params=[]), lr=1)


def test_nothing_is_built_when_a_later_node_is_wrong():
    built = toolbox.Model.built
    with pytest.raises(ConfigError):
        instantiate([L(toolbox.Model)(depth=1), L(toolbox.Model)(deep=1)])
    assert toolbox.Model.built == built


def test_a_reference_to_a_node_builds_another():
    cfg = to_config({"a": L(toolbox.Salt)(share=0.1), "b": "${a}"})
    built = instantiate(cfg)
    assert built["a"] is not built["b"]
