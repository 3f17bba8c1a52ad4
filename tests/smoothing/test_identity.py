import torch
from torch import nn

from dmaelab.corruptions import CORRUPTIONS, Gaussian
from dmaelab.smoothing import CERTIFIERS, Cohen, weights_hash
from dmaelab.smoothing.identity import describe


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


def test_describe_gives_name_and_plain_options():
    certifier = Cohen(10, 100, 0.01)
    certifier.radii, certifier.table, certifier._cache = (0.25, 0.5), object(), 3
    options = {"n0": 10, "n": 100, "alpha": 0.01, "weight": 0.9, "skip_wrong": False, "radii": [0.25, 0.5]}
    assert describe(CERTIFIERS, certifier) == {"name": "cohen", **options}

    class Mine(Gaussian):
        pass

    assert describe(CORRUPTIONS, Gaussian((0.1, 0.5))) == {"name": "gaussian", "sigma": [0.1, 0.5]}
    assert describe(CORRUPTIONS, Mine(0.5))["name"].endswith("Mine")
