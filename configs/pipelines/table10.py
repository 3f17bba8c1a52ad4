"""Table 10 of the paper: fine-tuning at one sigma and on a range of them, evaluated at sigma 0.25 and 0.5, CIFAR-10.

    python tools/pipeline.py --config-file pipelines/table10 \\
        pipeline.weights.dmae_base=dmae_base_sigma_0.25_mask_0.75_1100e.pth
    python tools/pipeline.py --config-file pipelines/table10 --debug        # a trial of half a minute without data
    python tools/pipeline.py --config-file pipelines/table10 pipeline.seeds=10  # ten seeds, as in the paper

Without weights the pre-training on ImageNet is run too. Whether the paper pre-trained on CIFAR-10 for this table it
does not say; its numbers at sigma 0.25 are near those after continued pre-training in Table 3. The paper's numbers:
tools/summarize.py --table 10 --paper.
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
