"""Table 3 of the paper: DMAE ViT-B on CIFAR-10 with and without continued pre-training, CR at sigma 0.25, 0.5 and 1.0.

    python tools/pipeline.py --config-file pipelines/table3 \\
        pipeline.weights.dmae_base=dmae_base_sigma_0.25_mask_0.75_1100e.pth
    python tools/pipeline.py --config-file pipelines/table3 --debug        # a trial of half a minute without data
    python tools/pipeline.py --config-file pipelines/table3 pipeline.seeds=10  # ten seeds, as in the paper

Without pipeline.weights the pre-training on ImageNet is run as well. The paper does not give the sigmas of this table;
we take the usual ones. tools/summarize.py --table 3 --paper prints the paper's numbers.
"""

from ..common.paper import SIGMAS as _SIGMAS
from ..common.paper import cifar10 as _cifar10
from ..common.paper import continued as _continued
from ..common.paper import pipeline as _pipeline
from ..common.paper import pretraining as _pretraining

pipeline = _pipeline("table3", "DMAE on CIFAR-10", ["dmae_base", "dmae_base_cifar10"], [0.25, 0.5, 0.75, 1.0])
pipeline.update(tables=[3])
stages = [_pretraining("dmae_base"), _continued()]
for _sigma in _SIGMAS:
    stages += _cifar10("dmae_base", _sigma) + _cifar10("dmae_base_cifar10", _sigma)
