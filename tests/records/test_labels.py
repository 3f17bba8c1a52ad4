"""The one list of labels: what it says, and that configs and inheritance follow it."""

import pytest

from dmaelab.records.labels import CONFIG_SECTION, INHERITED, LABELS, SETTINGS, labels_of
from dmaelab.records.readers import read_log
from dmaelab.utils.errors import UserError
from dmaelab.utils.signatures import signature_of


def test_a_config_may_have_the_labels_and_any_other():
    signature = signature_of(CONFIG_SECTION, "labels")
    assert list(signature.parameters) == list(LABELS)
    assert signature.accepts_all
    assert not signature.required
    assert signature.parameters["epochs"].annotation == int | None
    assert signature.parameters["epochs"].default is None


def test_how_weights_were_pre_trained_is_inherited():
    assert set(INHERITED) == {"pretrain", "epochs", "continued"}


def test_every_label_and_setting_has_a_check_that_bad_values_fail():
    for kind in [*(label.kind for label in LABELS.values()), *SETTINGS.values()]:
        assert not kind.fits(None)
        assert not kind.fits({})
        assert kind.words


def test_labels_are_read_from_the_header_and_checked(labelled_folder):
    log = read_log(labelled_folder(sigma=[0, 0.75], continued=False, note={"b": 1, "a": [2]}))
    assert labels_of(log) == {
        "sigma": (0, 0.75), "note": '{"a": [2], "b": 1}', "eval_sigma": 0.5, "n": 1000, "n0": 100, "alpha": 0.001,
    }  # fmt: skip
    with pytest.raises(UserError, match='the label extra_data is "yes", it should be true or false'):
        labels_of(read_log(labelled_folder(extra_data="yes")))


@pytest.fixture
def labelled_folder(tmp_path):
    """Return a function: labels -> folder of a certification log of one image."""
    from dmaelab.records.indices import subset
    from dmaelab.records.log import CertificationLog
    from dmaelab.records.row import make_row

    def make(**labels):
        folder = tmp_path / "-".join(labels)
        identity = {"sigma": 0.5, "n": 1000, "n0": 100, "alpha": 0.001, "norm": "l2", "subset": subset(range(1))}
        with CertificationLog(
            folder, identity=identity, context={"labels": labels}, columns=(), indices=range(1)
        ) as log:
            log.append(make_row(0, 1, 1, 0.5, 0.1, {}))
        return folder

    return make
