"""Table 5 of the paper: CR fine-tuning of DMAE ViT-B after 700 and after 1100 epochs of pre-training, ImageNet.

    python tools/pipeline.py --config-file pipelines/table5
    python tools/pipeline.py --config-file pipelines/table5 --debug        # a trial of half a minute without data
    python tools/pipeline.py --config-file pipelines/table5 pipeline.seeds=10  # ten seeds, as in the paper

The weights after 700 epochs were not released, so the pre-training is run, unless pipeline.weights.dmae_base is a run
directory of it. tools/summarize.py --table 5 --paper prints the paper's numbers.
"""

from ..common.paper import SIGMAS as _SIGMAS
from ..common.paper import imagenet as _imagenet
from ..common.paper import pipeline as _pipeline
from ..common.paper import pretraining as _pretraining

pipeline = _pipeline(
    "table5", "Epochs of pre-training", ["dmae_base", "dmae_base:epoch_700"], [0.0, 0.5, 1.0, 1.5, 2.0, 3.0]
)
pipeline.update(tables=[5])
stages = [_pretraining("dmae_base")]
for _sigma in _SIGMAS:
    stages += _imagenet("finetune_base_cr", "dmae_base:epoch_700", _sigma)
    stages += _imagenet("finetune_base_cr", "dmae_base", _sigma)
