"""Table 9 of the paper: MAE and DMAE ViT-B, fine-tuned with RS and with CR on ImageNet, sigma 0.5.

    python tools/pipeline.py --config-file pipelines/table9 \\
        pipeline.weights.dmae_base=dmae_base_sigma_0.25_mask_0.75_1100e.pth \\
        pipeline.weights.mae_base=mae_pretrain_vit_base.pth
    python tools/pipeline.py --config-file pipelines/table9 --debug        # a trial of half a minute without data
    python tools/pipeline.py --config-file pipelines/table9 pipeline.seeds=10  # ten seeds, as in the paper

Without pipeline.weights the pre-trainings are run as well. tools/summarize.py --table 9 --paper prints the paper's
numbers.
"""

from ..common.paper import imagenet as _imagenet
from ..common.paper import pipeline as _pipeline
from ..common.paper import pretraining as _pretraining

pipeline = _pipeline(
    "table9", "Fine-tuning of MAE and DMAE on ImageNet", ["dmae_base", "mae_base"], [0.0, 0.5, 1.0, 1.5]
)
pipeline.update(tables=[9])
stages = [_pretraining("mae_base"), _pretraining("dmae_base")]
for _config in ("finetune_base_rs", "finetune_base_cr"):
    stages += _imagenet(_config, "mae_base", 0.5)
    stages += _imagenet(_config, "dmae_base", 0.5)
