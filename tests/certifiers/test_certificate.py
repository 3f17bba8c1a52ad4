import math

from dmaelab.certifiers import Certificate


def test_certificate_unpacks_into_prediction_and_radius():
    certificate = Certificate(prediction=3, radius=0.5, top=3, n=100, n0=10)
    prediction, radius = certificate
    assert (prediction, radius) == (3, 0.5)
    assert certificate.samples == 110
    assert certificate.column("radius_full") == 0.5
    assert math.isnan(certificate.column("p_lower"))


def test_columns_of_a_plug_in_come_from_extra():
    assert Certificate(prediction=0, top=0, n=1, extra={"margin": 7}).column("margin") == 7
