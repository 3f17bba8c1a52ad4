from dmaelab.utils.errors import ConfigError, UserError, did_you_mean


def test_every_error_of_a_user_can_be_caught_as_one():
    assert issubclass(ConfigError, UserError)
    assert issubclass(UserError, ValueError)


def test_the_nearest_name_is_named():
    assert did_you_mean("gausian", ["uniform", "gaussian"]) == " (did you mean 'gaussian'?)"
    assert did_you_mean("laplace", ["uniform", "gaussian"]) == ""
    assert did_you_mean("x", []) == ""
    assert did_you_mean(12, [1, 123]) == " (did you mean '123'?)"
