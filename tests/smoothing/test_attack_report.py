import pytest
import torch

from dmaelab.smoothing.attack_report import AttackedImage, AttackReport, Attempt


def test_outcomes_and_the_worst_attempt():
    def made(*attempts):
        return AttackedImage(
            0, 4, 0.5, tuple(Attempt(torch.zeros(1, 1, 1), 0.4, answer, lead) for answer, lead in attempts)
        )

    assert (made((4, 90), (4, 80)).outcome, made((4, 90), (4, 80)).worst.lead) == ("held", 80)
    assert (made((-1, 3), (4, 80)).outcome, made((-1, 3), (4, 80)).worst.answer) == ("abstained", -1)
    assert (made((-1, -3), (2, -80), (3, -90)).outcome, made((2, -80), (3, -90)).worst.answer) == ("changed", 3)


@pytest.mark.parametrize(
    ("tried", "restarts", "alpha", "allowed"),
    [(1, 1, 1e-6, 0), (20, 2, 0.001, 2), (1000, 2, 0.001, 10), (5, 2, 0.5, 5), (20, 1, 1e-5, 0)],
)
def test_changes_that_alpha_allows(tried, restarts, alpha, allowed):
    report = AttackReport((), tried, restarts, alpha)
    assert report.allowed == allowed
    changed = AttackedImage(0, 0, 1.0, (Attempt(torch.zeros(1, 1, 1), 0.5, 1, -9),))
    assert AttackReport((changed,) * allowed, tried, restarts, alpha).sound
    assert not AttackReport((changed,) * (allowed + 1), tried, restarts, alpha).sound
    assert AttackReport((changed,) * (allowed + 1), tried, restarts, alpha, scale=1.5).sound
