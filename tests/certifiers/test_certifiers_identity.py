import pytest

from dmaelab.certifiers import CERTIFIERS, Cohen, Predict, Sequential
from dmaelab.certifiers.case import sampled_sigma
from dmaelab.certifiers.identity import case_of, certifier_of, identity_of
from dmaelab.records.identity import STATISTICS
from dmaelab.stats.geometry import QuantisedGaussianL2, geometry_name
from dmaelab.utils.errors import UserError


def test_an_option_that_is_changed_later_is_the_one_that_is_recorded():
    """Else a log would be continued under other options than its header says."""
    certifier = Cohen(20, 200, 0.001)
    certifier.alpha, certifier.skip_wrong = 0.1, True
    identity = identity_of(certifier)
    assert (identity["alpha"], identity["certifier"]["skip_wrong"]) == (0.1, True)
    assert certifier._looks.alpha == 0.1


@pytest.mark.parametrize("certifier", [Cohen(20, 300), Predict(300), Sequential(20, 300, radii=[0.25])])
def test_a_certifier_is_built_again_from_its_identity(certifier):
    identity = identity_of(certifier)
    assert sorted(identity) == sorted(STATISTICS)
    again = certifier_of(identity)
    assert type(again) is type(certifier)
    assert again.options() == certifier.options()


def test_a_certifier_that_fixes_an_option_is_built_without_it(monkeypatch):
    """The header has n0 and n of every certifier, also of one whose constructor does not take them."""

    class Fixed(Cohen):
        def __init__(self, alpha=0.001):
            super().__init__(50, 400, alpha)

        def options(self):
            return {"n0": self.n0, **super().options()}

    monkeypatch.setitem(CERTIFIERS._obj_map, "fixed", Fixed)
    identity = identity_of(Fixed())
    assert (identity["n0"], identity["n"]) == (50, 400)
    assert certifier_of(identity).n == 400
    with pytest.raises(UserError, match="n is 500 there, 400 here"):
        certifier_of(identity | {"n": 500})


def test_the_case_of_a_log_has_the_tau_of_its_geometry():
    geometry = QuantisedGaussianL2()
    identity = {
        "classes": 3,
        "geometry": geometry_name(geometry),
        "norm": geometry.norm,
        "fp_sound": geometry.fp_sound,
        "sigma": 0.25,
        "shape": [3, 8, 8],
        "batch_shape": [64, 3, 8, 8],
        "tau": (own := geometry.tau(0.25, 192)),
    }
    assert own > 0
    assert case_of(identity).needed(0.1) == geometry.needed(sampled_sigma(0.25), 0.1) + own
    for wrong in ({"tau": 0.0}, {"tau": own + 0.01}, {"norm": "linf"}, {"batch_shape": [64, 3, 8, 9]}):
        with pytest.raises(UserError, match="the header"):
            case_of(identity | wrong)
