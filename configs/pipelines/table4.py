"""Table 4 of the paper: linear probes on DMAE and MAE ViT-B, ImageNet, sigma 0.25, 0.5 and 1.0.

    python tools/pipeline.py --config-file pipelines/table4 \\
        pipeline.weights.dmae_base=dmae_base_sigma_0.25_mask_0.75_1100e.pth \\
        pipeline.weights.mae_base=mae_pretrain_vit_base.pth
    python tools/pipeline.py --config-file pipelines/table4 --debug        # a trial of half a minute without data
    python tools/pipeline.py --config-file pipelines/table4 pipeline.seeds=10  # ten seeds, as in the paper

Without pipeline.weights the pre-trainings are run as well. tools/summarize.py --table 4 --paper prints the paper's
numbers.
"""

from ..common.paper import SIGMAS as _SIGMAS
from ..common.paper import imagenet as _imagenet
from ..common.paper import pipeline as _pipeline
from ..common.paper import pretraining as _pretraining

pipeline = _pipeline("table4", "Linear probing on ImageNet", ["dmae_base", "mae_base"], [0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
pipeline.update(tables=[4])
stages = [_pretraining("mae_base"), _pretraining("dmae_base")]
for _sigma in _SIGMAS:
    stages += _imagenet("probe_base", "mae_base", _sigma)
    stages += _imagenet("probe_base", "dmae_base", _sigma)
