import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from dmaelab.stats.paired import bootstrap_mean, mcnemar_pvalue
from dmaelab.utils.errors import UserError


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (5, 5), (3, 12), (12, 3), (0, 20), (230, 291)])
def test_mcnemar_equals_statsmodels_and_scipys(first, second):
    other = mcnemar([[40, first], [second, 7]], exact=True).pvalue
    binomial = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar_pvalue(first, second) == pytest.approx(binomial, rel=1e-10)
    assert binomial == pytest.approx(other, rel=1e-10)


def test_mcnemar_rejects_no_oftener_than_its_level():
    rng = np.random.default_rng(0)
    first = rng.binomial(40, 0.5, size=4000)
    rejected = np.mean([mcnemar_pvalue(count, 40 - count) <= 0.05 for count in first])
    assert rejected <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)


def test_bootstrap_agrees_with_scipys_and_repeats():
    differences = np.random.default_rng(1).exponential(size=120)
    ours = bootstrap_mean(differences)
    other = stats.bootstrap(
        (differences,),
        np.mean,
        confidence_level=0.95,
        n_resamples=9999,
        method="percentile",
        random_state=np.random.default_rng(2),
    ).confidence_interval
    assert ours == pytest.approx((other.low, other.high), abs=0.01)
    assert ours == bootstrap_mean(differences)


def test_bootstrap_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    intervals = [bootstrap_mean(rng.normal(0.3, 1, size=80), resamples=400) for _ in range(400)]
    assert 0.9 <= np.mean([low <= 0.3 <= high for low, high in intervals]) <= 0.98


def test_bootstrap_of_many_images_draws_in_blocks(monkeypatch):
    whole = bootstrap_mean(np.arange(50.0), resamples=200)
    monkeypatch.setattr("dmaelab.stats.paired._BLOCK", 50 * 32)
    assert bootstrap_mean(np.arange(50.0), resamples=200) == whole
    monkeypatch.setattr("dmaelab.stats.paired._BLOCK", 1)
    assert bootstrap_mean(np.arange(50.0), resamples=200) == whole


def test_bootstrap_of_one_image_or_equal_differences_is_a_point():
    assert bootstrap_mean([0.5]) == (0.5, 0.5)
    assert bootstrap_mean([0.25] * 7) == (0.25, 0.25)


def test_bad_input_is_refused():
    with pytest.raises(UserError, match="negative"):
        mcnemar_pvalue(-1, 2)
    for arguments, message in [
        (([],), "at least one"),
        (([1.0], 0), "at least one"),
    ]:
        with pytest.raises(UserError, match=message):
            bootstrap_mean(*arguments)
