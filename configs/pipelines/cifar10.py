"""Pre-train, fine-tune and certify on CIFAR-10 at 32x32, in about an hour on two CPU cores.

    export DMAELAB_DATA=/path/to/data        # holds cifar10-jpeg/{train,test}/<class>/*.jpg
    python tools/pipeline.py --config-file pipelines/cifar10

You have to make this folder yourself; pipelines/cifar10_original takes the original files of CIFAR-10 instead. Measured
results: docs/results.md.
"""

pipeline = dict(
    out_dir="runs/cifar10",
    title="Certified accuracy (%) on 200 CIFAR-10 test images, sigma = 0.25, n0 = 100, n = 1,000, alpha = 0.001",
    radii=[0.0, 0.25, 0.5],
    pictures=["pretrain"],
)

_certify = ['certify.subset={"count": 200}', "certifier.n=1000", "certify.precision=auto"]

stages = [
    dict(name="pretrain", config="cifar10/pretrain"),
    dict(name="rs", config="cifar10/finetune_rs", init_from="pretrain"),
    dict(name="cr", config="cifar10/finetune_cr", init_from="pretrain"),
    dict(name="certify_rs", certify="rs", overrides=_certify, label="DMAE + RS"),
    dict(name="certify_cr", certify="cr", overrides=_certify, label="DMAE + CR"),
]
