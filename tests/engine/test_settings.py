"""What the plain sections of a config refuse, and what is computed from them."""

import pytest

from dmaelab.engine.settings import CertifySettings, TrainSettings
from dmaelab.utils.errors import ConfigError


def train(**given):
    return TrainSettings(**{"out_dir": "out", "batch_size": 8, "max_iter": 10} | given)


LEAST = {
    **dict.fromkeys(
        (
            "max_iter",
            "batch_size",
            "accum_steps",
            "micro_batch",
            "log_period",
            "eval_batch_size",
            "keep_checkpoints",
            "eval_images",
        ),
        1,
    ),
    **dict.fromkeys(("eval_period", "checkpoint_period", "num_workers"), 0),
}


@pytest.mark.parametrize("name", LEAST)
def test_the_least_numbers_of_train(name):
    assert getattr(train(**{name: LEAST[name]}), name) == LEAST[name]
    for value in (LEAST[name] - 1, -7):
        with pytest.raises(ConfigError, match=rf"^train\.{name} is {value}: "):
            train(**{name: value})


def test_the_least_number_of_epochs():
    assert train(max_iter=None, epochs=1).epochs == 1
    with pytest.raises(ConfigError, match=r"^train\.epochs is 0: it must be at least 1"):
        train(max_iter=None, epochs=0)


@pytest.mark.parametrize("given", [{"max_iter": None}, {"max_iter": 5, "epochs": 1}])
def test_the_length_is_given_once(given):
    with pytest.raises(ConfigError, match=r"train\.max_iter is .* and train\.epochs is .*: give the length in one"):
        train(**given)


def test_the_micro_batch_is_given_once():
    with pytest.raises(ConfigError, match=r"train.micro_batch and train.accum_steps both set the size"):
        train(micro_batch=4, accum_steps=2)


@pytest.mark.parametrize("value", [0, -1.0, float("nan")])
def test_a_norm_that_clips_is_positive(value):
    assert train(clip_grad=None).clip_grad is None
    assert train(clip_grad=1e-9).clip_grad == 1e-9
    with pytest.raises(ConfigError, match=r"^train\.clip_grad is .*more than 0, or None"):
        train(clip_grad=value)


@pytest.mark.parametrize("value", [0, 1, -0.5, 1.5, float("nan")])
def test_a_decay_lies_between_0_and_1(value):
    assert train(ema_decay=None).ema_decay is None
    assert train(ema_decay=0.999).ema_decay == 0.999
    with pytest.raises(ConfigError, match=r"^train\.ema_decay is .*in \(0, 1\), or None"):
        train(ema_decay=value)


@pytest.mark.parametrize("make", [train, CertifySettings])
def test_precisions(make):
    for precision in ("auto", "fp32", "bf16", "fp16"):
        assert make(precision=precision).precision == precision
    with pytest.raises(ConfigError, match=r"precision is 'fp8': choose one of auto, fp32, bf16, fp16"):
        make(precision="fp8")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "best", "step_5", "step_"])
def test_names_of_milestones_that_write_elsewhere_or_over_others(name):
    with pytest.raises(ConfigError, match=r"^train\.milestones: the name "):
        train(milestones={"good": 1, name: 2})


@pytest.mark.parametrize("length", [{}, {"max_iter": None, "epochs": 10}])
def test_milestones_lie_within_the_training(length):
    assert train(milestones={"first": 1, "last": 10}, **length).milestones == {"first": 1, "last": 10}
    for when in (0, 11, -1):
        with pytest.raises(ConfigError, match=rf"^train\.milestones\.here is {when}: "):
            train(milestones={"here": when}, **length)


@pytest.mark.parametrize(
    ("images", "batch", "steps"), [(1281167, 4096, 312), (50000, 512, 97), (50000, 256, 195), (1281167, 1024, 1251)]
)
def test_an_epoch_drops_its_tail(images, batch, steps):
    settings = train(batch_size=batch, max_iter=None, epochs=3, milestones={"early": 2})
    assert settings.steps(images) == (3 * steps, {"early": 2 * steps})
    assert train(batch_size=batch, max_iter=7, milestones={"early": 2}).steps(images) == (7, {"early": 2})


@pytest.mark.parametrize(
    ("given", "processes", "expected"),
    [
        ({"micro_batch": 64}, 1, (64, 64)),
        ({"micro_batch": 64}, 8, (64, 8)),
        ({"micro_batch": 64}, 128, (32, 1)),
        ({"accum_steps": 8}, 8, (64, 8)),
        ({}, 4, (1024, 1)),
        ({"accum_steps": 4096}, 1, (1, 4096)),
    ],
)
def test_a_step_is_split_over_processes(given, processes, expected):
    micro, accum = train(batch_size=4096, **given).split(processes)
    assert (micro, accum) == expected
    assert micro * accum * processes == 4096


@pytest.mark.parametrize(
    ("given", "processes", "cut"),
    [
        ({"batch_size": 4096, "micro_batch": 64}, 3, "4096 is not divisible by 3 processes x micro-batches of 64"),
        ({"batch_size": 100, "micro_batch": 64}, 1, "100 is not divisible by 1 processes x micro-batches of 64"),
        ({"batch_size": 2}, 4, "2 is not divisible by 4 processes x 1 accum_steps"),
        ({"batch_size": 127, "accum_steps": 2}, 1, "127 is not divisible by 1 processes x 2 accum_steps"),
    ],
)
def test_splits_that_cannot_be(given, processes, cut):
    settings = train(**given)
    with pytest.raises(ConfigError, match=f"train.batch_size {cut}"):
        settings.split(processes)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc"])
def test_a_log_is_named_by_a_folder(name):
    with pytest.raises(ConfigError, match=r"^certify\.name is .*without a path"):
        CertifySettings(name=name)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 0}, r"^certify\.batch_size is 0: it must be at least 1"),
        ({"on_invalid": "skip"}, r"^certify\.on_invalid is 'skip': choose one of stop, count"),
    ],
)
def test_other_settings_of_a_certification_that_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        CertifySettings(**given)


def test_the_arithmetic_of_a_certification_is_what_was_asked_for():
    arithmetic = CertifySettings(precision="bf16", channels_last=True, compile="blocks", cuda_graph=False).arithmetic
    assert (arithmetic.precision, arithmetic.channels_last) == ("bf16", True)
    assert (arithmetic.compile, arithmetic.cuda_graph) == ("blocks", False)


def test_settings_share_no_default():
    train().milestones["early"] = 3
    CertifySettings().labels["method"] = "RS"
    assert train().milestones == {}
    assert CertifySettings().labels == {}
