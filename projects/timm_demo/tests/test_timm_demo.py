"""The backbone and the data set keep their contracts, and weights travel from pre-training to certificates."""

import copy
from pathlib import Path

import pytest
import torch

pytest.importorskip("timm")

from dmaelab import BACKBONES, DATASETS
from dmaelab.config import LazyConfig, instantiate, load_plugins, open_config
from dmaelab.engine import open_certification, run_training
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.engine.training import SECTIONS, check_training, trainer_of
from dmaelab.modeling.pos_embed import resize_table
from dmaelab.records.folders import read_header
from dmaelab.records.readers import read_log
from dmaelab.testing import check_backbone, check_dataset
from dmaelab.utils.errors import UserError
from dmaelab.weights import fill_pretrained

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
STEPS = [
    "train.device=cpu", "train.precision=fp32", "train.max_iter=2", "train.batch_size=16", "train.log_period=1",
    "train.eval_period=0", "train.eval_images=8",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _plugin():
    load_plugins({"plugins": ["projects.timm_demo"]})


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("pool", ["gap", "cls"])
def test_contract_of_the_backbone(pool, registers):
    backbone = BACKBONES.build(
        "timm_vit", width=24, depth=2, num_heads=3, image_size=8, patch_size=4, registers=registers, pool=pool
    )
    check_backbone(backbone, (3, 8, 8))
    assert backbone.net.pos_embed.shape == (1, 1 + registers + 4, 24)


def test_an_image_size_that_no_patches_fill():
    with pytest.raises(UserError, match="image_size 30 is not divisible by patch_size 4"):
        BACKBONES.build("timm_vit", width=24, depth=1, num_heads=3, image_size=30, patch_size=4)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_contract_of_the_data_set(split):
    dataset = DATASETS.build("shapes", split=split)
    check_dataset(dataset, {"split": split})
    assert len(set(torch.bincount(dataset.targets).tolist())) == 1


def test_an_image_is_one_drawing_at_every_size():
    small, large = (DATASETS.build("shapes", split="test", image_size=size) for size in (16, 48))
    assert torch.equal(small.targets, large.targets)
    assert torch.equal(small.images, large.images[:, :, 1::3, 1::3])  # the centres of these pixels are the same
    assert not torch.equal(small.images, DATASETS.build("shapes", split="val").images)


@pytest.mark.parametrize("name", ["pretrain", "finetune"])
def test_training_configs(name, tmp_path):
    cfg = open_config(CONFIGS / f"{name}.py")
    check_training(cfg)
    LazyConfig.save(cfg, tmp_path / "frozen.yaml")
    assert LazyConfig.load(tmp_path / "frozen.yaml") == cfg


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The directory of a pre-training of two steps."""
    out = tmp_path_factory.mktemp("timm") / "pretrain"
    run_training(open_config(CONFIGS / "pretrain.py", [*STEPS, f"train.out_dir={out}"], SECTIONS))
    return out


@pytest.fixture
def finetune_config(pretrained, tmp_path):
    """The config of a fine-tuning from the pre-training."""
    paths = [f"train.out_dir={tmp_path / 'rs'}", f"train.init_from={pretrained}"]
    return open_config(CONFIGS / "finetune.py", [*STEPS, *paths], SECTIONS)


def model_of(run):
    return RunDirectory(run).model("final", torch.device("cpu")).export()


def test_fine_tuning_begins_with_the_encoder_at_its_own_size(pretrained, finetune_config):
    model, encoder = instantiate(finetune_config.model), model_of(pretrained).encoder
    report = fill_pretrained(model, pretrained / "model_final.pth")
    norms = [f"backbone.net.fc_norm.{name}" for name in ("weight", "bias")]
    assert report.new == [*norms, "head.weight", "head.bias"]
    assert report.resized == ["backbone.net.pos_embed 4x4 -> 6x6"]
    own, given = model.export().backbone.net.state_dict(), encoder.net.state_dict()
    assert torch.equal(own.pop("pos_embed"), resize_table(given.pop("pos_embed"), 6, num_prefix_rows=5))
    assert all(torch.equal(own[name], given[name]) for name in own.keys() & given.keys())


def test_other_heads_than_those_of_the_pre_training_are_refused(finetune_config):
    finetune_config.model.classifier.backbone.num_heads = 4
    with pytest.raises(UserError, match="trained with num_heads 2, but the model has 4"):
        trainer_of(finetune_config)(finetune_config)


def test_a_resumed_run_ends_as_one_that_was_left_alone_and_is_certified(pretrained, finetune_config, tmp_path):
    whole, half = copy.deepcopy(finetune_config), copy.deepcopy(finetune_config)
    half.train.checkpoint_period = 1
    whole.train.out_dir = str(tmp_path / "whole")
    run_training(whole)
    run_training(half)
    run = tmp_path / "rs"
    (run / "model_final.pth").unlink()
    (run / "checkpoints" / "step_0000002.pth").unlink()
    run_training(half, resume=True)
    assert [start["resume"] for start in RunDirectory(run).starts()] == [False, True]
    expected, state = (model_of(path).state_dict() for path in (tmp_path / "whole", run))
    assert all(torch.equal(value, state[name]) for name, value in expected.items())

    before = {name.replace("encoder.", "backbone."): value for name, value in model_of(pretrained).state_dict().items()}
    unchanged = {name for name, value in state.items() if name in before and torch.equal(value, before[name])}
    assert {name for name in unchanged if name.startswith("backbone.")} == {
        "backbone.net.patch_embed.proj.weight",
        "backbone.net.patch_embed.proj.bias",
    }

    samples = ["certify.device=cpu", "certify.subset=[0, 7]", "certifier.n=50", "certifier.n0=10"]
    batch = ["certify.batch_size=60", f"certify.run={run}"]
    folder = open_certification(CONFIGS / "certify.py", [*samples, *batch]).run(progress=False)
    assert read_log(folder).index.tolist() == [0, 7]
    identity = read_header(folder)["identity"]
    assert identity["plugins"] == ["projects.timm_demo"]
    assert identity["dataset"]["name"] == "shapes"
    assert identity["model"]["backbone"]["name"] == "timm_vit"
