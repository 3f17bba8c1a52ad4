import pytest
import torch
import torch.nn.functional as F

from dmaelab.corruptions import Gaussian
from dmaelab.losses import RS
from dmaelab.utils.errors import UserError


def test_rs_is_cross_entropy_on_one_noisy_copy(context):
    case = context()
    noisy = case.noisy(copies=1).images
    log_p = case.classifier(noisy).log_softmax(dim=1)
    expected = -torch.stack([log_p[i, target] for i, target in enumerate(case.targets)]).mean()
    losses = RS()(case)
    assert list(losses) == ["loss_ce"]
    torch.testing.assert_close(losses["loss_ce"], expected)


def test_noise_is_what_makes_rs_differ_from_plain_training(context):
    case = context(corruption=Gaussian(0.0))
    plain = F.cross_entropy(case.classifier(case.images), case.targets)
    torch.testing.assert_close(RS()(case)["loss_ce"], plain)
    assert abs(RS()(context(corruption=Gaussian(1.0)))["loss_ce"] - plain) > 1e-3


def test_label_smoothing_spreads_its_share_over_all_classes(context):
    case = context()
    log_p = case.classifier(case.noisy().images).log_softmax(dim=1)
    soft = F.one_hot(case.targets, 5) * 0.9 + 0.1 / 5
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(6))
    torch.testing.assert_close(RS(label_smoothing=0.1)(case)["loss_ce"], -(soft * log_p).sum(dim=1).mean())


@pytest.mark.parametrize("value", [-0.1, 1.0, 2.0])
def test_label_smoothing_out_of_range(value):
    with pytest.raises(UserError, match=r"loss\.label_smoothing is .*: give a number in \[0, 1\)"):
        RS(label_smoothing=value)
