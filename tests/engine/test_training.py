import json
import subprocess
import sys

import pytest
import torch

from dmaelab.config import LazyConfig
from dmaelab.engine import Hook, run_evaluation, run_training
from dmaelab.engine.checkpoint import CheckpointFolder
from dmaelab.engine.defaults import DefaultTrainer
from dmaelab.engine.resolve import resolve
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.engine.training import check_training
from dmaelab.utils.errors import ConfigError, Preempted, UserError


def test_a_run_leaves_what_the_next_stage_needs(pretrain_config, tmp_path):
    cfg = pretrain_config("train.milestones={'early': 4}")
    run_training(cfg)
    out = tmp_path / "pretrain"
    frozen = LazyConfig.load(out / "config.yaml")
    assert frozen == resolve(cfg, torch.device("cpu"))
    assert frozen.model.encoder.attention in ("matmul", "sdpa")
    assert json.loads((out / "run.json").read_text())["starts"][0]["versions"]["torch"]
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == [4, 8]
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["early.pth", "step_0000008.pth"]
    state = torch.load(out / "model_final.pth", weights_only=True)
    assert state["weights"] == "raw"
    assert "encoder.blocks.0.attn.qkv.weight" in state["model"]


def test_a_signal_in_the_last_step_lets_the_run_finish_and_starts_nothing_else(pretrain_config, tmp_path, monkeypatch):
    monkeypatch.setenv("DMAELAB_PLUGINS", "signalling")
    node = "{'_target_': 'signalling.Signal', 'step': 8, 'name': 'SIGTERM'}"
    with pytest.raises(Preempted, match="pretrain is finished; a signal asked to stop, so nothing else is started"):
        run_training(pretrain_config(f"+hooks=[{node}]"))
    assert RunDirectory(tmp_path / "pretrain").finished


def test_evaluation_of_a_finished_run_gives_its_last_numbers(finetune_config):
    cfg = finetune_config("train.ema_decay=0.5")
    result = run_training(cfg)
    assert run_evaluation(cfg) == pytest.approx(result, abs=1e-6)


def test_the_final_model_is_the_average_where_there_is_one(finetune_config, tmp_path):
    run_training(finetune_config("train.ema_decay=0.5"))
    final = torch.load(tmp_path / "rs/model_final.pth", weights_only=True)
    raw = torch.load(tmp_path / "rs/checkpoints/step_0000008.pth", weights_only=True)
    assert final["weights"] == "ema"
    assert not torch.equal(final["model"]["head.bias"], raw["model"]["classifier.head.bias"])
    assert torch.equal(final["model"]["head.bias"], raw["hooks"]["EMAHook"]["module.classifier.head.bias"])


def test_an_occupied_directory_is_refused(pretrain_config):
    run_training(pretrain_config("train.max_iter=1"))
    with pytest.raises(UserError, match=r"already holds a run: continue it with --resume"):
        run_training(pretrain_config("train.max_iter=1"))


def test_fine_tuning_starts_from_the_encoder(pretrain_config, finetune_config, tmp_path):
    run_training(pretrain_config())
    cfg = finetune_config(f"train.init_from={tmp_path / 'pretrain'}", "train.max_iter=1", "optimizer.lr=0.0")
    run_training(cfg)
    encoder = torch.load(tmp_path / "pretrain/model_final.pth", weights_only=True)["model"]
    classifier = RunDirectory(tmp_path / "rs").model("final", torch.device("cpu")).export().state_dict()
    key = "blocks.0.mlp.fc1.weight"
    assert torch.equal(classifier[f"backbone.{key}"], encoder[f"encoder.{key}"])


def test_cr_trains_on_two_copies(finetune_config, tmp_path):
    run_training(finetune_config(name="digits/finetune_cr"))
    record = json.loads((tmp_path / "rs/metrics.jsonl").read_text().splitlines()[-1])
    assert record["loss"] == pytest.approx(record["loss_ce"] + record["loss_consistency"] + record["loss_entropy"])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_classifier_learns(finetune_config, precision):
    overrides = ["train.max_iter=400", "optimizer.lr=5e-3", "train.eval_images=None"]
    result = run_training(finetune_config(*overrides, f"train.precision={precision}"))
    assert result["noisy_accuracy"] > 0.5  # chance is 0.1


def test_accumulation_is_one_large_batch(finetune_config, tmp_path):
    for accum in (1, 4):  # without noise, which has one address for each micro-batch
        overrides = [
            f"train.accum_steps={accum}",
            "train.max_iter=3",
            "train.clip_grad=1.0",
            "model.corruption.sigma=0.0",
        ]
        run_training(finetune_config(*overrides, out=f"accum{accum}"))
    one, four = (torch.load(tmp_path / f"accum{a}/model_final.pth", weights_only=True)["model"] for a in (1, 4))
    for name, value in one.items():
        torch.testing.assert_close(four[name], value, atol=1e-5, rtol=0)


def test_nan_stops_the_run_before_anything_is_saved(finetune_config, tmp_path, monkeypatch):
    monkeypatch.setattr("dmaelab.losses.classification.cross_entropy", lambda logits, *_: logits.sum() * float("nan"))
    with pytest.raises(UserError, match=r"became nan or inf at step 1 .*lower optimizer.lr"):
        run_training(finetune_config("train.checkpoint_period=3"))
    assert not list((tmp_path / "rs").glob("checkpoints/*"))


def test_weights_that_the_last_step_spoils_are_not_saved(finetune_config, tmp_path):
    class Spoil(Hook):
        def after_backward(self):  # the loss of this step was fine, and there is no step after it
            if self.trainer.step == 7:
                next(p for p in self.trainer.inner.parameters() if p.grad is not None).grad.fill_(float("nan"))

    trainer = DefaultTrainer(finetune_config())
    trainer.register_hooks([Spoil()])
    with pytest.raises(UserError, match="became nan or inf at step 8"):
        trainer.train()
    assert not list((tmp_path / "rs").glob("**/*.pth"))


def test_a_resume_with_another_model_is_one_line_and_spoils_nothing(finetune_config, tmp_path):
    cfg = finetune_config("train.max_iter=2")
    run_training(cfg)
    for override, message in [
        ("model.classifier.backbone.depth=2", "another architecture: classifier.backbone.blocks.1"),
        ("optimizer.layer_decay=0.5", "another optimizer"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            run_training(finetune_config("train.max_iter=4", override), resume=True, allow_changes=True)
        assert "\n" not in str(caught.value)
    assert LazyConfig.load(tmp_path / "rs/config.yaml") == resolve(cfg, torch.device("cpu"))
    RunDirectory(tmp_path / "rs").model("final", torch.device("cpu"))


def test_a_resume_with_other_settings_is_for_those_who_ask_for_it(finetune_config, tmp_path, capsys):
    run_training(finetune_config("train.max_iter=2", "train.precision=auto"))
    (tmp_path / "rs/model_final.pth").unlink()
    frozen = LazyConfig.load(tmp_path / "rs/config.yaml")
    frozen.train.precision = "bf16"  # as if the rule of another device had chosen it
    LazyConfig.save(frozen, tmp_path / "rs/config.yaml")
    run_training(finetune_config("train.max_iter=2", "train.precision=auto", "train.log_period=1"), resume=True)

    before = {path: path.read_bytes() for path in (tmp_path / "rs").rglob("*") if path.is_file()}
    longer = finetune_config("train.max_iter=3", "train.precision=auto")
    with pytest.raises(UserError, match=r"rs was begun with other settings \(train\.max_iter is 2 there, 3 now\): "):
        run_training(longer, resume=True)
    assert {path: path.read_bytes() for path in (tmp_path / "rs").rglob("*") if path.is_file()} == before
    run_training(longer, resume=True, allow_changes=True)
    assert "resuming with another config: train.max_iter is 2 in the run, 3 now" in capsys.readouterr().out
    assert torch.load(tmp_path / "rs/model_final.pth", weights_only=True)["step"] == 3
    starts = RunDirectory(tmp_path / "rs").starts()
    assert [(start["from_step"], start["steps"]) for start in starts] == [(0, 2), (2, 2), (2, 3)]
    run_training(longer, resume=True)  # it is the config of the run now


def test_a_resume_takes_the_optimizer_options_of_the_config(finetune_config):
    run_training(finetune_config("train.max_iter=2"))
    trainer = DefaultTrainer(finetune_config("train.max_iter=4", "optimizer.weight_decay=0.25"), resume=True)
    assert trainer.step == 2
    assert {group["weight_decay"] for group in trainer.optimizer.param_groups} == {0.0, 0.25}
    assert all(state["step"] == 2 for state in trainer.optimizer.state.values())


def test_a_start_that_fails_leaves_the_directory_free(finetune_config):
    with pytest.raises(UserError, match="nowhere"):
        run_training(finetune_config("train.init_from=/nowhere"))
    run_training(finetune_config("train.max_iter=1"))


def test_best_and_newest_checkpoints_are_kept(finetune_config, tmp_path):
    cfg = finetune_config(
        "train.checkpoint_period=2",
        "train.keep_checkpoints=2",
        "train.eval_period=2",
        "train.best_metric=noisy_loss",
        "train.best_mode=min",
    )
    run_training(cfg)
    names = sorted(path.name for path in (tmp_path / "rs/checkpoints").iterdir())
    assert names == ["best.pth", "step_0000006.pth", "step_0000008.pth"]
    records = [json.loads(line) for line in (tmp_path / "rs/metrics.jsonl").read_text().splitlines()]
    losses = {record["step"]: record["eval_noisy_loss"] for record in records}
    best = torch.load(tmp_path / "rs/checkpoints/best.pth", weights_only=True)
    assert best["step"] == min(losses, key=losses.get)


def test_tensorboard_gets_the_records(finetune_config, tmp_path):
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    run_training(finetune_config("train.tensorboard=True"))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "rs/tb")).Reload()
    assert [event.step for event in events.Scalars("loss_ce")] == [4, 8]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.best_metric=accuracy", r"train.best_metric: there is no metric 'accuracy'.*clean_accuracy"),
        ("train.batch_size=127 train.accum_steps=2", r"127 is not divisible by 1 processes x 2 accum_steps"),
        ("train.device=cuda", r"no usable CUDA device"),
        ("train.device=gpu", r"device is 'gpu': choose 'auto', 'cpu', 'cuda' or 'cuda:N'"),
        ("train.clip_grad=-1", r"train.clip_grad is -1.* must be more than 0, or None"),
        ("train.eval_images=0", r"train.eval_images is 0"),
        ("train.milestones={'step_1':2}", r"train.milestones: the name 'step_1' is not allowed"),
        ("train.milestones={'early':0}", r"train.milestones.early is 0"),
        ("model.classifier.backbone.patch_size=3", r"image_size 8 is not divisible by patch_size 3"),
        ("model.corruption.sigma=-0.1", r"corruption.sigma is -0.1"),
        ("train.init_from=/nowhere/at/all", r"/nowhere/at/all: there is no such file of weights"),
    ],
)
def test_bad_input_is_one_clear_line(finetune_config, override, message):
    if "cuda" in override and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(UserError, match=message) as caught:
        run_training(finetune_config(*override.split()))
    assert "\n" not in str(caught.value)


def test_other_kinds_of_config_name_their_tool():
    from dmaelab.config import get_config

    with pytest.raises(ConfigError, match=r"a certification: use tools/certify.py"):
        check_training(get_config("certify/default"))
    with pytest.raises(ConfigError, match=r"a pipeline: use tools/pipeline.py"):
        check_training(get_config("pipelines/digits"))


def test_a_corrupt_image_loses_nothing_that_was_trained(finetune_config, tmp_path, monkeypatch):
    from dmaelab.data import Digits

    def load(self, index):
        if index == 1200:
            raise UserError("cannot read image 1200")
        return self.images[index], int(self.targets[index])

    cfg = finetune_config("data.transform=[{'_target_': 'torch.nn.Identity'}]", "train.max_iter=12")
    with monkeypatch.context() as patch:
        patch.setattr(Digits, "load", load)
        with pytest.raises(UserError, match="cannot read image 1200"):
            run_training(cfg)
    saved = torch.load(next((tmp_path / "rs/checkpoints").iterdir()), weights_only=True)
    assert 0 < saved["step"] < 11  # an epoch is 10 steps: the image came within the first
    run_training(cfg, resume=True)
    run_training(
        finetune_config("data.transform=[{'_target_': 'torch.nn.Identity'}]", "train.max_iter=12", out="whole")
    )
    resumed, whole = (
        torch.load(tmp_path / name / "model_final.pth", weights_only=True)["model"] for name in ("rs", "whole")
    )
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


@pytest.mark.parametrize(("head", "saved"), [("bn_linear", 0), ("linear", 1)])
def test_an_image_that_spoils_half_a_step_saves_no_half(finetune_config, tmp_path, monkeypatch, head, saved):
    """The first half has moved the statistics of a batch norm, and no weight."""
    from dmaelab.data import Digits

    settings = ["data.transform=[{'_target_': 'torch.nn.Identity'}]", "train.accum_steps=2", "train.max_iter=4"]
    cfg = finetune_config(*settings, f"model.classifier.head={head}")
    loaded = []

    def load(self, index):
        loaded.append(index)
        if len(loaded) > 1.75 * cfg.train.batch_size:
            raise UserError("cannot read an image")
        return self.images[index], int(self.targets[index])

    monkeypatch.setattr(Digits, "load", load)
    with pytest.raises(UserError, match="cannot read an image"):
        run_training(cfg)
    assert len(list((tmp_path / "rs/checkpoints").glob("*"))) == saved


def test_a_milestone_is_never_lost(finetune_config, tmp_path, monkeypatch):
    """Its file is written before that of its step, from which a run that ended there would go on."""
    settings = ("train.milestones={'early': 4}", "train.checkpoint_period=2", "train.max_iter=6")
    save = CheckpointFolder.save

    def full(self, name, state):
        if name == "early":
            raise UserError("no space left")
        save(self, name, state)

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointFolder, "save", full)
        with pytest.raises(UserError, match="no space left"):
            run_training(finetune_config(*settings))
    run_training(finetune_config(*settings), resume=True)
    assert torch.load(tmp_path / "rs/checkpoints/early.pth", weights_only=True)["step"] == 4


def test_one_process_trains_in_a_directory(finetune_config, tmp_path):
    cfg = finetune_config("train.max_iter=1")
    (tmp_path / "rs").mkdir()
    holder = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX); print(flush=True);"
        " sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, tmp_path / "rs/.lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(UserError, match=r"rs: another process is training in it: wait for it"):
            run_training(cfg)
        other.stdin.close()
    run_training(cfg)


def test_best_means_the_average_that_its_metric_was_measured_on(finetune_config, tmp_path):
    cfg = finetune_config(
        "train.ema_decay=0.5", "train.best_metric=noisy_loss", "train.best_mode=min", "train.eval_period=4"
    )
    run_training(cfg)
    saved = torch.load(tmp_path / "rs/checkpoints/best.pth", weights_only=True)
    best = RunDirectory(tmp_path / "rs").model("best", torch.device("cpu")).export()
    assert torch.equal(best.head.bias, saved["hooks"]["EMAHook"]["module.classifier.head.bias"])


def test_a_training_of_epochs(pretrain_config, tmp_path):
    cfg = pretrain_config(
        "train.max_iter=None", "train.epochs=2", "train.batch_size=600", "train.milestones={'first': 1}"
    )
    run_training(cfg)  # 1,397 images: two steps an epoch
    assert (tmp_path / "pretrain/checkpoints/step_0000004.pth").exists()
    assert torch.load(tmp_path / "pretrain/checkpoints/first.pth", weights_only=True)["step"] == 2


def test_the_frozen_config_names_the_defaults(pretrain_config, tmp_path):
    run_training(pretrain_config("train.max_iter=1"))
    frozen = LazyConfig.load(tmp_path / "pretrain/config.yaml")
    assert frozen.train.keep_checkpoints == 2
    assert frozen.train.clip_grad is None
