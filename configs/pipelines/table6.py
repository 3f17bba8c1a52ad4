"""Table 6 of the paper: RS and CR fine-tuning of DMAE ViT-L on ImageNet, sigma 0.25, 0.5 and 1.0.

    python tools/pipeline.py --config-file pipelines/table6 \\
        pipeline.weights.dmae_large=dmae_large_sigma_0.25_mask_0.75_1600e.pth
    python tools/pipeline.py --config-file pipelines/table6 --debug        # a trial of half a minute without data
    python tools/pipeline.py --config-file pipelines/table6 pipeline.seeds=10  # ten seeds, as in the paper

Without pipeline.weights the pre-training is run as well. tools/summarize.py --table 6 --paper prints the paper's
numbers.
"""

from ..common.paper import SIGMAS as _SIGMAS
from ..common.paper import imagenet as _imagenet
from ..common.paper import pipeline as _pipeline
from ..common.paper import pretraining as _pretraining

pipeline = _pipeline("table6", "RS and CR on ImageNet", ["dmae_large"], [0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
pipeline.update(tables=[6])
stages = [_pretraining("dmae_large")]
for _sigma in _SIGMAS:
    stages += _imagenet("finetune_large_rs", "dmae_large", _sigma) + _imagenet(
        "finetune_large_cr", "dmae_large", _sigma
    )
