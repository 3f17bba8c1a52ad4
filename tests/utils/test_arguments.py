import copy
import inspect
import pickle

import numpy as np
import pytest
from omegaconf import OmegaConf

from dmaelab.utils.arguments import KeepsArguments, is_plain, json_value
from dmaelab.utils.errors import UserError


class Base(KeepsArguments):
    def __init__(self, level, copies=2):
        self.level, self.copies = level, copies


class Hiding(Base):
    """Stores one option under a private name, and nothing of another."""

    def __init__(self, level, *, strength=1.0, table=(1, 2)):
        super().__init__(level)
        self._strength = strength


class HandingOn(Base):
    def __init__(self, *args, margin=0.1, **kwargs):
        super().__init__(*args, **kwargs)


class TakingOut(Base):
    def __init__(self, **kwargs):
        self.margin = kwargs.pop("margin")
        super().__init__(level=1, **kwargs)


class Keeping(Base):
    """Hands on nothing of what it takes by position."""

    def __init__(self, *radii):
        super().__init__(level=1)


class Empty(KeepsArguments):
    pass


def test_arguments_by_name_with_defaults_written_out():
    assert Base(3).options() == Base(level=3, copies=2).options() == {"level": 3, "copies": 2}
    assert Empty().options() == {}


def test_it_does_not_matter_where_the_constructor_stores_them():
    assert Hiding(3).options() == {"level": 3, "strength": 1.0, "table": [1, 2]}
    assert Hiding(3, strength=2.0).options() != Hiding(3).options()
    assert Hiding(3, table=(1, 3)).options() != Hiding(3).options()


def test_what_is_handed_on_stands_under_its_own_name():
    assert HandingOn(level=3).options() == {"level": 3, "copies": 2, "margin": 0.1}
    assert HandingOn(3, 4).options() == {"level": 3, "copies": 4, "margin": 0.1, "args": [3, 4]}
    assert Keeping(0.5).options()["radii"] == [0.5]
    assert Keeping(1, 2, 3).options() == {"radii": [1, 2, 3]}
    assert TakingOut(margin=2, copies=5).options() == {"margin": 2, "copies": 5}


def test_values_are_those_that_json_gives_back():
    values = {"a": (1, np.int64(2)), "b": np.float64(0.5), "c": OmegaConf.create([1, {"d": 2}]), "e": True, "f": None}
    options = Base(values).options()["level"]
    assert options == {"a": [1, 2], "b": 0.5, "c": [1, {"d": 2}], "e": True, "f": None}
    assert [type(item) for item in (options["a"][1], options["b"], options["c"][1])] == [int, float, dict]


def test_a_list_that_its_owner_changes_later_was_kept_as_it_was():
    radii = [0.5]
    made = Keeping(radii)
    radii.append(1.0)
    assert made.options()["radii"] == [[0.5]]


def test_an_attribute_that_was_changed_is_the_option():
    """The object works with it, so a log must name it."""
    made = Base(3)
    made.level = 4
    assert made.options()["level"] == 4


def test_what_no_log_can_hold_is_told_when_a_log_asks():
    made = Base(3, copies=object())
    with pytest.raises(UserError, match=r"Base was built with copies = <object .* which cannot be written to a log"):
        made.options()
    assert not is_plain(json_value({1: 2}))
    assert not is_plain(json_value([{"a": np.zeros(2)}]))


def test_wrong_arguments_are_refused_by_the_constructor():
    with pytest.raises(TypeError, match=r"Base.__init__\(\) got an unexpected keyword argument 'wrong'"):
        Base(3, wrong=1)
    with pytest.raises(TypeError, match=r"Base.__init__\(\) missing 1 required positional argument: 'level'"):
        Base()


def test_copies_and_pickles_keep_them():
    made = Base(3, copies=5)
    for other in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert other.options() == made.options()


def test_the_signature_of_a_class_stays_that_of_its_constructor():
    assert list(inspect.signature(Hiding).parameters) == ["level", "strength", "table"]
