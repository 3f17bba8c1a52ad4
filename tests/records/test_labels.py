"""The list of labels: configs and inheritance follow it."""

from dmaelab.records.labels import CERTIFICATION_SETTINGS, CONFIG_SECTION, INHERITED, LABELS
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
    for kind in [*(label.kind for label in LABELS.values()), *CERTIFICATION_SETTINGS.values()]:
        assert not kind.fits(None)
        assert not kind.fits({})
        assert kind.words
