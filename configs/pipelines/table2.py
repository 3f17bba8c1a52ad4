"""Tables 1 and 2 of the paper: DMAE ViT-B and ViT-L on ImageNet, CR at sigma 0.25, 0.5 and 1.0.

    python tools/pipeline.py --config-file pipelines/table2 \\
        pipeline.weights.dmae_base=dmae_base_sigma_0.25_mask_0.75_1100e.pth \\
        pipeline.weights.dmae_large=dmae_large_sigma_0.25_mask_0.75_1600e.pth
    python tools/pipeline.py --config-file pipelines/table2 --debug        # a trial of half a minute without data
    python tools/pipeline.py --config-file pipelines/table2 pipeline.seeds=10  # ten seeds, as in the paper

Without pipeline.weights the pre-trainings are run as well. tools/summarize.py --table 2 --paper prints the paper's
numbers.
"""

from ..common.paper import SIGMAS as _SIGMAS
from ..common.paper import imagenet as _imagenet
from ..common.paper import pipeline as _pipeline
from ..common.paper import pretraining as _pretraining

pipeline = _pipeline("table2", "DMAE on ImageNet", ["dmae_base", "dmae_large"], [0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
pipeline.update(tables=[1, 2])
stages = [_pretraining("dmae_base"), _pretraining("dmae_large")]
for _sigma in _SIGMAS:
    stages += _imagenet("finetune_base_cr", "dmae_base", _sigma) + _imagenet("finetune_large_cr", "dmae_large", _sigma)
