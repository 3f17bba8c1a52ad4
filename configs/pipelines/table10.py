"""Table 10 of the paper: CR on CIFAR-10 at one sigma and on a range of sigma, evaluated at sigma 0.25 and 0.5.

    python tools/pipeline.py --config-file pipelines/table10 \\
        pipeline.weights.dmae_base=dmae_base_sigma_0.25_mask_0.75_1100e.pth
    python tools/pipeline.py --config-file pipelines/table10 --debug        # a trial of half a minute without data
    python tools/pipeline.py --config-file pipelines/table10 pipeline.seeds=10  # ten seeds, as in the paper

Without pipeline.weights the pre-training on ImageNet is run as well. The paper does not say whether the models of this
table had continued pre-training on CIFAR-10; its numbers at sigma 0.25 are near those with it in Table 3.
tools/summarize.py --table 10 --paper prints the paper's numbers.
"""

from ..common.paper import cifar10_trained as _cifar10_trained
from ..common.paper import continued as _continued
from ..common.paper import evaluated as _evaluated
from ..common.paper import pipeline as _pipeline
from ..common.paper import pretraining as _pretraining

pipeline = _pipeline(
    "table10",
    "One model for many levels of noise, CIFAR-10",
    ["dmae_base", "dmae_base_cifar10"],
    [0.0, 0.25, 0.5, 0.75, 1.0],
)
pipeline.update(tables=[10])
stages = [_pretraining("dmae_base"), _continued()]
for _sigma in (0.25, 0.5, (0.0, 0.75)):
    _training = _cifar10_trained("dmae_base_cifar10", _sigma)
    stages += [_training, *(_evaluated(_training, _at) for _at in (0.25, 0.5))]
