"""One body for two devices: on the CPU in every run of the tests, and on a GPU where there is one."""

from collections.abc import Callable

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from dmaelab.config import open_config
from dmaelab.data import build_dataset
from dmaelab.engine.training import SECTIONS
from dmaelab.modeling import Classifier, build_backbone

CLASSES, SHAPE = 4, (3, 8, 8)

# 80 images in batches of 32 and micro-batches of 16: an epoch is 2 steps, so 6 steps cross two of its ends.
SMALL = [
    "train.max_iter=6", "train.batch_size=32", "train.accum_steps=2", "train.log_period=2", "train.checkpoint_period=3",
    "train.eval_period=0", "train.eval_images=16", "train.clip_grad=1.0", "train.ema_decay=0.9", "train.init_from=None",
    "schedule.warmup=0", "data.augment=[{'_target_': 'dmaelab.data.transforms.HorizontalFlip'}]",
    *(f"data.{split}={{'_target_': 'dmaelab.data.build.build_dataset', 'name': 'generated', 'image_size': 8,"
      f" 'channels': 1, 'split': '{split}', 'count': {count}}}" for split, count in (("train", 80), ("test", 16))),
]  # fmt: skip
_BACKBONE = "model.classifier.backbone"
RECIPES = {
    "dmae": ("digits/pretrain", ["model.encoder.width=32", "model.encoder.depth=2", "model.decoder.width=16"]),
    "cr": ("digits/finetune_cr", [f"{_BACKBONE}.width=32", f"{_BACKBONE}.depth=2", f"{_BACKBONE}.drop_path=0.2"]),
}
BACKBONES = {
    "vit": {"width": 32, "depth": 2, "num_heads": 2, "image_size": SHAPE[-1], "patch_size": 2},
    "resnet_cifar": {"depth": 8},
}


@pytest.fixture
def device(request) -> torch.device:
    """The device of a test, by default a GPU; the test is skipped where there is none."""
    name = getattr(request, "param", "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    return torch.device("cuda", 0) if name == "cuda" else torch.device("cpu")


@pytest.fixture(autouse=True)
def _repeatable(monkeypatch) -> None:
    """Let convolutions add their gradients in a fixed order, which not all kernels of cuDNN do; nothing else needs it.

    Matrix products repeat their bits in one stream. The gradient of a gather adds with atomics, but no patch is
    gathered twice, so each sum has one term. That of attention adds over blocks of 64 keys or more, and here are 17.
    """
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


@pytest.fixture
def config(tmp_path, device) -> Callable[..., DictConfig]:
    """Return a function of a recipe, the name of a run directory and further overrides that gives a small training."""

    def make(recipe: str, out: str, *overrides: str) -> DictConfig:
        name, model = RECIPES[recipe]
        place = [f"train.device={device}", f"train.out_dir={tmp_path / out}"]
        return open_config(name, [*SMALL, *model, *place, *overrides], SECTIONS)

    return make


@pytest.fixture
def pictures() -> Callable[[int], tuple[Tensor, int]]:
    """Return index -> (float image on the host, label), for 64 images."""
    data = build_dataset("generated", count=64, image_size=SHAPE[-1], num_classes=CLASSES, split="test")
    return lambda index: (data.images[index].float() / 255, int(data.targets[index]))


@pytest.fixture
def classifier(device) -> Callable[[str], nn.Module]:
    """Return a function of a backbone's name that gives a network whose votes at sigma 0.25 are divided.

    Its features are random, and its head is the least squares of the classes on those of noisy images, less their mean.
    """

    def make(backbone: str) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            model = Classifier(build_backbone(backbone, **BACKBONES[backbone]), CLASSES, [0.5] * 3, [0.25] * 3).eval()
            teach(model)
        return model.to(device)

    return make


@torch.no_grad()
def teach(model: Classifier) -> None:
    """Set the head of a classifier from its features of 512 noisy images."""
    data = build_dataset("generated", count=512, image_size=SHAPE[-1], num_classes=CLASSES)
    features = model.backbone(model.preprocess(data.images.float() / 255 + 0.25 * torch.randn(512, *SHAPE))).double()
    centre = features.mean(0)
    centred, targets = features - centre, nn.functional.one_hot(data.targets, CLASSES).double() - 1 / CLASSES
    ridge = 0.01 * centred.square().sum(0).mean() * torch.eye(len(centre), dtype=torch.float64)
    weight = torch.linalg.solve(centred.T @ centred + ridge, centred.T @ targets).T
    model.head.weight.copy_(weight)
    model.head.bias.copy_(-weight @ centre)
