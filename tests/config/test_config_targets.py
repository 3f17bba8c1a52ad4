import config_toolbox as toolbox
import pytest

from dmaelab.config.imports import _MOVED, current_name, find
from dmaelab.config.targets import signature_for
from dmaelab.utils.errors import ConfigError


def test_the_config_of_an_older_run_names_modules_where_they_were():
    assert find("dmaelab.modeling.vit.ViT") is find("dmaelab.modeling.ViT")
    assert find("dmaelab.smoothing.build.build_certifier") is find("dmaelab.certifiers.build_certifier")


@pytest.mark.parametrize("module", sorted(_MOVED))
def test_a_module_that_moved_is_found(module):
    assert current_name(f"{module}.Thing") == f"{_MOVED[module]}.Thing"
    assert find(f"{module}.__name__") == _MOVED[module]


def test_a_dotted_name_is_a_module_an_attribute_or_a_nested_one():
    assert find("config_toolbox.Model") is toolbox.Model
    assert find("config_toolbox.Model.__init__") is toolbox.Model.__init__
    assert find("os.path").__name__ in ("posixpath", "ntpath")


def test_the_signature_of_a_builder_is_that_of_the_entry_it_names():
    signature = signature_for({"_target_": "config_toolbox.build_noise", "name": "salt"}, "noise")
    assert (signature.label, list(signature.parameters)) == ("salt", ["share", "value", "name"])
    assert signature.required == ["share", "name"]
    with pytest.raises(ConfigError, match=r"^noise\.name: unknown noise 'pepper'"):
        signature_for({"_target_": "config_toolbox.build_noise", "name": "pepper"}, "noise")
