"""Pre-train, fine-tune and certify on real digits, in a few minutes on two cores. `make demo` runs this pipeline.

    python tools/pipeline.py --config-file pipelines/digits

The settings were chosen on the split "val". The 200 images of "test" are used for certification only.
"""

pipeline = dict(
    out_dir="runs/demo",
    title="Certified accuracy (%) on 200 held-out digits, sigma = 0.25, n0 = 100, n = 10,000, alpha = 0.001",
    radii=[0.0, 0.25, 0.5, 0.75],
    pictures=["pretrain"],
    note=(
        "This shows that the machinery works; it is no evidence for the method. The images are 8x8, the budget is"
        " minutes, and in a trial with five times the steps training from scratch caught up."
    ),
)

_certify = ["dataset.split=test", "certify.precision=auto", "certify.batch_size=2000"]

stages = [
    dict(name="pretrain", config="digits/pretrain"),
    dict(name="rs", config="digits/finetune_rs", init_from="pretrain"),
    dict(name="cr", config="digits/finetune_cr", init_from="pretrain"),
    dict(name="scratch", config="digits/finetune_rs", overrides=["train.init_from=None"]),
    dict(name="certify_rs", certify="rs", overrides=_certify, label="DMAE + RS"),
    dict(name="certify_cr", certify="cr", overrides=_certify, label="DMAE + CR"),
    dict(name="certify_scratch", certify="scratch", overrides=_certify, label="RS from scratch"),
]
