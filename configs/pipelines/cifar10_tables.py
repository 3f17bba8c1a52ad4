"""A small version of Tables 4, 6 and 9 of the paper: DMAE and MAE on CIFAR-10 at 32x32, a tiny ViT, two CPU cores.

    export DMAELAB_DATA=/path/to/data        # holds cifar10-jpeg/{train,test}/<class>/*.jpg
    python tools/pipeline.py --config-file pipelines/cifar10_tables

You have to make this folder yourself.

Both encoders get the same steps, images and settings. Each is probed, and fine-tuned with RS and with CR for the same
number of steps, as in the paper; CR then sees twice as many noisy copies. The same 500 test images are certified. The
numbers of steps are chosen so that the pipeline takes about two hours on two cores.
"""

pipeline = dict(
    out_dir="runs/cifar10_tables",
    title="Certified accuracy (%) on 500 CIFAR-10 test images, sigma = 0.25, n0 = 100, n = 400, alpha = 0.001",
    radii=[0.0, 0.25, 0.5],
    tables=[4, 6, 9],
    table_radii=[0.0, 0.25, 0.5],
    compare=[
        ["certify_mae_probe", "certify_dmae_probe"],
        ["certify_mae_rs", "certify_dmae_rs"],
        ["certify_mae_cr", "certify_dmae_cr"],
        ["certify_dmae_rs", "certify_dmae_cr"],
    ],
    note="Weights of a small budget: a comparison of the two pre-trainings under one small budget, no reproduction of"
    " the paper.",
)

_steps = {"probe": 400, "rs": 600, "cr": 600}
_certify = ['certify.subset={"stride": 20}', "certifier.n=400", "certify.batch_size=100", "certify.precision=auto"]

stages = []
for _pretrain, _config in (("MAE", "cifar10/pretrain_mae"), ("DMAE", "cifar10/pretrain")):
    _source = _pretrain.lower()
    stages += [dict(name=_source, config=_config, overrides=["train.max_iter=2000"])]
    for _method in ("probe", "rs", "cr"):
        _name = f"{_source}_{_method}"
        _training = "probe" if _method == "probe" else f"finetune_{_method}"
        stages += [
            dict(
                name=_name,
                config=f"cifar10/{_training}",
                init_from=_source,
                overrides=[f"train.max_iter={_steps[_method]}"],
            ),
            dict(name=f"certify_{_name}", certify=_name, overrides=_certify, label=f"{_pretrain} + {_method}"),
        ]
