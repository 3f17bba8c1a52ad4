import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from dmaelab.engine.subject import OwnModule, TrainedRun, subject_of, trained_run
from dmaelab.utils.errors import ConfigError, UserError

CPU = torch.device("cpu")
LINEAR = {"_target_": "torch.nn.Linear", "in_features": 4, "out_features": 2}


def config(**train):
    return OmegaConf.create(
        {
            "model": {"_target_": "any.Model", "corruption": {"name": "gaussian", "sigma": 0.25}},
            "train": {"best_metric": None} | train,
            "labels": {"method": "RS", "backbone": "ViT-S"},
        }
    )


@pytest.fixture
def make(tmp_path):
    """Return a function that makes a run of a config which is frozen in its directory."""

    def run(weights="final", given=None, **train):
        cfg = config(**train)
        OmegaConf.save(cfg, tmp_path / "config.yaml")
        return TrainedRun(tmp_path, weights, given)

    return run


def test_a_run_is_known_by_its_frozen_config_or_by_the_one_that_it_will_have(make, tmp_path):
    assert make().sigma == 0.25
    coming = config()
    coming.model.corruption.sigma = [0.1, 0.5]
    assert make(given=coming).sigma == [0.1, 0.5]
    assert TrainedRun(tmp_path / "not there yet", "final", coming).model_config == coming.model
    with pytest.raises(UserError, match="is not a run directory"):
        TrainedRun(tmp_path / "not there", "final")


@pytest.mark.parametrize("corruption", [None, "absent"])
def test_a_run_without_a_corruption_has_no_sigma(make, corruption):
    cfg = config()
    cfg.model.pop("corruption")
    if corruption is None:
        cfg.model.corruption = None
    assert make(given=cfg).sigma is None
    make(given=cfg).warn_of_noise("gaussian", 0.5)  # nor anything to compare noise with


def test_labels_of_the_certification_go_over_those_of_the_training(make):
    assert make().labels({"method": "CR", "label": "mine"}) == {"method": "CR", "backbone": "ViT-S", "label": "mine"}


@pytest.mark.parametrize("weights", ["best", "some/where/best.pth"])
def test_that_a_metric_chose_the_weights_cannot_be_hidden(make, weights):
    labels = make(weights, best_metric="noisy_accuracy").labels({"selected_by": "nobody"})
    assert labels["selected_by"] == "noisy_accuracy on data.test"
    assert make(weights).labels({})["selected_by"] == "a metric on data.test"
    assert "selected_by" not in make("final", best_metric="noisy_accuracy").labels({})


@pytest.mark.parametrize(
    ("trained", "name", "sigma", "warnings"),
    [
        (0.25, "gaussian", 0.25, 0),
        (0.25, "gaussian", 0.5, 1),
        ([0.1, 0.5], "gaussian", 0.5, 0),
        ([0.1, 0.5], "gaussian", 0.1, 0),
        ([0.1, 0.5], "gaussian", 0.51, 1),
        (0.25, "laplace", 0.25, 1),
        (0.25, "laplace", 0.5, 2),
    ],
)
def test_other_noise_than_that_of_the_training_is_warned_of(make, log_messages, trained, name, sigma, warnings):
    cfg = config()
    cfg.model.corruption.sigma = trained
    make(given=cfg).warn_of_noise(name, sigma)
    assert len(log_messages) == warnings


def test_only_what_classifies_is_certified(make, monkeypatch):
    class Trained(nn.Module):
        def export(self):
            return self

    model = Trained()
    run = make()
    monkeypatch.setattr(run.run, "model", lambda weights, device: model)
    with pytest.raises(UserError, match="trained a Trained, which is not a classifier"):
        run.load(CPU)
    model.num_classes = 10
    assert run.load(CPU) is model


def test_a_module_of_ones_own(tmp_path):
    own = OwnModule(OmegaConf.create(LINEAR), str(tmp_path))
    assert own.labels({"label": "mine"}) == {"label": "mine"}
    assert own.run.log_folder("default") == tmp_path / "certify/default"
    network = own.load(CPU)
    assert not network.training
    assert network(torch.zeros(3, 4)).shape == (3, 2)


def test_what_is_no_module_is_refused(tmp_path):
    own = OwnModule(OmegaConf.create({"_target_": "dmaelab.data.transforms.HorizontalFlip"}), str(tmp_path))
    with pytest.raises(UserError, match=r"builds a HorizontalFlip, not a torch\.nn\.Module"):
        own.load(CPU)


def test_which_of_the_two_a_config_certifies(make, tmp_path):
    make()
    run = subject_of(OmegaConf.create({"certify": {"run": str(tmp_path), "weights": "best"}}))
    assert isinstance(run, TrainedRun)
    assert (run.run.path, run.weights) == (tmp_path, "best")
    assert subject_of(OmegaConf.create({"certify": {"run": str(tmp_path)}})).weights == "final"
    coming = trained_run(OmegaConf.create({"certify": {"run": "not there yet"}}), config())
    assert coming.sigma == 0.25
    own = subject_of(OmegaConf.create({"certify": {"out_dir": str(tmp_path)}, "classifier": LINEAR}))
    assert isinstance(own, OwnModule)
    assert own.run.path == tmp_path


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"certify": {}}, r"^certify\.run: name the run directory"),
        ({"certify": {"out_dir": "out"}}, r"^certify\.run: name the run directory"),
        ({"certify": {}, "classifier": LINEAR}, r"needs certify\.out_dir for its log"),
        ({"certify": {"run": "run", "out_dir": "out"}, "classifier": LINEAR}, r"and no certify\.run"),
    ],
)
def test_neither_and_both_are_refused(cfg, message):
    with pytest.raises(ConfigError, match=message):
        subject_of(OmegaConf.create(cfg))
