from dmaelab.utils.signatures import signature_of


class Gauge:
    def __init__(self, level, /, low, *rest, high: "int" = 2, **more):
        pass


def only(low, high=1):
    pass


def of_a_type_that_only_checkers_know(low: "Nowhere", high=1):  # noqa: F821
    pass


def test_keyword_arguments_of_a_class_and_a_function():
    signature = signature_of(Gauge, "gauge")
    assert (signature.label, list(signature.parameters), signature.accepts_all) == ("gauge", ["low", "high"], True)
    assert signature.required == ["low"]
    assert signature.parameters["high"].annotation is int  # annotations that are text are evaluated
    assert not signature_of(only, "only").accepts_all


def test_arguments_that_are_accepted():
    given = {"low": 1, "other": 2}
    assert signature_of(only, "only").accepted(given) == {"low": 1}
    assert signature_of(Gauge, "gauge").accepted(given) == given


def test_an_annotation_that_cannot_be_evaluated_stays_text():
    assert signature_of(of_a_type_that_only_checkers_know, "f").parameters["low"].annotation == "Nowhere"


def test_without_a_signature_everything_is_accepted():
    assert signature_of(min, "min").accepted({"key": 1}) == {"key": 1}
    assert signature_of(min, "min").required == []
