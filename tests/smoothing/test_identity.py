import inspect
import json

import pytest
import torch
from torch import nn

from dmaelab.certifiers import CERTIFIERS, Cohen, Predict, Sequential
from dmaelab.corruptions import CORRUPTIONS, Gaussian
from dmaelab.records.merge import identity_hash
from dmaelab.smoothing import weights_hash


def test_weights_hash_sees_names_types_shapes_and_values():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    reference = weights_hash(module)
    assert weights_hash(module) == reference
    renamed = nn.Sequential(nn.Identity(), *module)
    assert weights_hash(renamed) != reference
    assert weights_hash(torch.compile(module)) == reference
    module[1].running_mean[2] += 1e-6
    assert weights_hash(module) != reference
    module[1].running_mean[2] = 0
    assert weights_hash(module) == reference
    assert weights_hash(module.to(torch.bfloat16)) != reference


# For every option of a registered entry another value than its default, or than the one given below.
OTHER = {
    "sigma": 0.7, "n0": 7, "n": 5000, "alpha": 0.01, "weight": 0.5, "skip_wrong": True, "mode": "radius",
    "radii": [0.125], "share": 0.3, "futility": None, "growth": 2.0,
}  # fmt: skip
ENTRIES = [(registry, name) for registry in (CERTIFIERS, CORRUPTIONS) for name in registry.names()]


def build(registry, name, **options):
    return registry.build(name, **({"sigma": 0.25} if registry is CORRUPTIONS else {}) | options)


@pytest.mark.parametrize(
    ("registry", "name"), ENTRIES, ids=lambda value: value if isinstance(value, str) else value.kind
)
def test_every_argument_of_a_registered_entry_is_an_option_that_tells(registry, name):
    options = registry.name_and_options(build(registry, name))
    arguments = list(inspect.signature(registry.get(name)).parameters)
    assert set(options) == {"name", *arguments}
    assert json.loads(json.dumps(options)) == options
    for argument in arguments:
        other = registry.name_and_options(build(registry, name, **{argument: OTHER[argument]}))
        assert other[argument] != options[argument], argument
        assert identity_hash(other) != identity_hash(options)


@pytest.mark.parametrize(
    ("certifier", "options"),
    [
        (Cohen(20.0, 300.0, 0.001), {"name": "cohen", "n0": 20, "n": 300, "weight": 0.9, "skip_wrong": False}),
        (Predict(300), {"name": "predict", "n": 300}),
        (
            Sequential(20, 2000, mode="target", radii=0.5, growth=2),
            {
                "name": "sequential", "n0": 20, "n": 2000, "mode": "target", "radii": [0.5], "weight": 0.9,
                "share": 0.1, "futility": 0.001, "growth": 2.0, "skip_wrong": False,
            },
        ),
        (
            Sequential(20, 2000, radii=(0.5, 0)),
            {
                "name": "sequential", "n0": 20, "n": 2000, "mode": "grid", "radii": [0.0, 0.5], "weight": 0.9,
                "share": 0.1, "futility": 0.001, "growth": 1.25, "skip_wrong": False,
            },
        ),
    ],
)  # fmt: skip
def test_options_are_written_as_in_the_logs_that_there_are(certifier, options):
    """Logs that were begun with an earlier version are continued and merged: not a digit may change."""
    found = CERTIFIERS.name_and_options(certifier)
    assert json.dumps(found, sort_keys=True) == json.dumps({**options, "alpha": 0.001}, sort_keys=True)


def test_options_of_corruptions_are_written_as_in_the_logs_that_there_are():
    assert CORRUPTIONS.name_and_options(Gaussian((0.1, 0.5))) == {"name": "gaussian", "sigma": [0.1, 0.5]}
    assert json.dumps(CORRUPTIONS.name_and_options(Gaussian(1))) == '{"name": "gaussian", "sigma": 1.0}'


class Hiding(Cohen):
    """A plug-in whose option is in no public attribute."""

    def __init__(self, margin=0.1, **options):
        super().__init__(**options)
        self._margin = margin


def test_a_plug_in_that_hides_an_option_does_not_share_a_log_with_another_one():
    kind = f"{__name__}.Hiding"
    known = {"n0": 100, "n": 300, "alpha": 0.001, "weight": 0.9, "skip_wrong": False}
    assert CERTIFIERS.name_and_options(Hiding(n=300)) == {"name": kind, "margin": 0.1, **known}
    assert CERTIFIERS.name_and_options(Hiding(0.2, n=300)) == {"name": kind, "margin": 0.2, **known}


def test_attributes_that_are_no_arguments_are_no_options():
    certifier = Cohen(10, 100, 0.01)
    certifier.calls = 3
    assert "calls" not in CERTIFIERS.name_and_options(certifier)
