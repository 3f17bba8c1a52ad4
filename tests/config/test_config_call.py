import functools

import config_toolbox as toolbox
import pytest

from dmaelab.config import LazyCall as L
from dmaelab.utils.errors import ConfigError


class Outer:
    @classmethod
    def make(cls): ...


def test_target_becomes_text():
    node = L(toolbox.Model)(depth=3, pair=(1.0, 2.0))
    assert dict(node) == {"_target_": "config_toolbox.Model", "depth": 3, "pair": node.pair}
    assert L(toolbox.build_noise)(name="normal")._target_ == "config_toolbox.build_noise"
    assert L("some.where.Thing")()._target_ == "some.where.Thing"
    assert L(Outer.make)()._target_ == f"{__name__}.Outer.make"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: L(lambda x: x),
            "a lambda cannot be a target, it cannot be imported: make it a function in an importable module",
        ),
        (
            lambda: L(toolbox.local_function()),
            "local_function.<locals>.inner cannot be imported as 'config_toolbox.local_function.<locals>.inner': "
            "move it to an importable module",
        ),
        (lambda: L(5), "L(...) takes a class, a function or a dotted name, not 5"),
        (
            lambda: L(toolbox.Model)(3),
            "L(Model)(...) takes keyword arguments only, so that every value has a key to override it by",
        ),
    ],
)
def test_refused(make, message):
    with pytest.raises(ConfigError) as error:
        make()
    assert str(error.value) == message


def test_partial_object_is_refused():
    with pytest.raises(ConfigError, match=r"takes a class, a function or a dotted name"):
        L(functools.partial(toolbox.optimizer, lr=1))


def test_a_builder_that_its_module_does_not_keep_is_refused():
    from dmaelab.registry import Registry, builder

    with pytest.raises(ConfigError, match=r"^build_thing cannot be imported as 'dmaelab.registry.build_thing'"):
        L(builder(Registry("thing"), "dmaelab.registry"))
