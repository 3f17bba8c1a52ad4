import pytest

from dmaelab.certifiers import CERTIFIERS, build_certifier
from dmaelab.utils.errors import UserError


def test_registry_names_and_unknown_name():
    assert {"cohen", "predict"} <= set(CERTIFIERS.names())
    assert build_certifier("cohen", n=1000).n == 1000
    with pytest.raises(UserError, match="did you mean 'cohen'"):
        build_certifier("cohne")
