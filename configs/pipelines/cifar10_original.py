"""As pipelines/cifar10, but on the original files of CIFAR-10 instead of a folder of JPEGs.

    export DMAELAB_DATA=/path/to/data        # an existing folder
    python tools/pipeline.py --config-file pipelines/cifar10_original

The files are read from $DMAELAB_DATA/cifar10/cifar-10-batches-py; if they are missing, they are downloaded (170 MB).
docs/results.md was measured on JPEGs, so its numbers are a little different.
"""

from .cifar10 import pipeline, stages

_build = "'_target_': 'dmaelab.data.build.build_dataset', 'name': 'cifar10', 'download': True"
_data = [f"data.{split}={{{_build}, 'split': '{split}'}}" for split in ("train", "test")]

pipeline.update(out_dir="runs/cifar10_original")
stages = [stage if "certify" in stage else {**stage, "overrides": _data} for stage in stages]
