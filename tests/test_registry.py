import sys
from pathlib import Path

import pytest

import dmaelab
from dmaelab.__main__ import REGISTRIES, main
from dmaelab.registry import Registry, builder
from dmaelab.utils.errors import ConfigError


@pytest.fixture
def shapes():
    """A registry of its own with two entries."""
    registry = Registry("shape")

    @registry.register("square")
    class Square:
        """Four equal sides.

        And more about it.
        """

        def __init__(self, side=1):
            self.side = side

    @registry.register("circle")
    def circle(radius):
        return radius

    return registry


def test_names_are_sorted_and_described(shapes):
    assert shapes.names() == ["circle", "square"]
    assert shapes.describe() == {"circle": "", "square": "Four equal sides."}
    assert "square" in shapes
    assert "triangle" not in shapes


def test_the_name_of_an_object(shapes):
    assert shapes.name_of(shapes.build("square")) == "square"
    assert shapes.name_of(Path("x")).endswith("Path")


def test_get_and_build(shapes):
    assert shapes.get("square") is type(shapes.build("square"))
    assert shapes.build("square", side=3).side == 3
    assert shapes.build("circle", radius=2) == 2


def test_builder_is_the_registry_as_a_function(shapes):
    build = builder(shapes, __name__)
    assert (build.__module__, build.__name__) == (__name__, "build_shape")
    assert build.registry is shapes
    assert build("square", side=2).side == 2


def test_unknown_name_shows_the_nearest_and_all(shapes):
    with pytest.raises(ConfigError) as error:
        shapes.get("sqare")
    message = str(error.value)
    assert "unknown shape 'sqare' (did you mean 'square'?)" in message
    assert "circle, square" in message
    assert "plugins" in message
    assert "\n" not in message


def test_taken_name_is_refused_and_the_first_entry_stays(shapes):
    first = shapes.get("square")

    class Other:
        pass

    with pytest.raises(ConfigError, match=r"'square' is already registered by .*Square"):
        shapes.register("square")(Other)
    assert shapes.get("square") is first


def test_the_same_class_may_come_again(shapes):
    entry = shapes.get("square")
    again = type(entry.__name__, (), {"__module__": entry.__module__, "__qualname__": entry.__qualname__})
    shapes.register("square")(again)
    assert shapes.get("square") is again


def test_register_without_a_name_is_explained(shapes):
    with pytest.raises(ConfigError, match=r"as in \.register\('my_shape'\)"):

        @shapes.register
        class Nameless:
            pass


@pytest.mark.parametrize("name", REGISTRIES)
def test_registries_of_the_package_describe_every_entry(name):
    registry = getattr(dmaelab, name)
    assert registry.names()
    assert not [entry for entry, line in registry.describe().items() if not line]


def test_what_is_registered():
    assert set(dmaelab.BACKBONES.names()) >= {"vit", "vit_tiny", "vit_small", "vit_base", "vit_large", "resnet_cifar"}
    assert set(dmaelab.CORRUPTIONS.names()) >= {"gaussian", "uniform"}
    assert set(dmaelab.LOSSES.names()) >= {"mse_all_patches", "mse_masked_patches", "rs", "cr"}
    assert "cohen" in dmaelab.CERTIFIERS.names()
    assert set(dmaelab.DATASETS.names()) >= {"digits", "image_folder", "cifar10", "fashion_mnist", "imagenet"}


def test_list_prints_every_entry(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["dmaelab", "list"])
    main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    printed = {line[0] for line in lines}
    for name in REGISTRIES:
        assert {name, *getattr(dmaelab, name).names()} <= printed
