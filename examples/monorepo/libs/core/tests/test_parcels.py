import pytest

from parcels import HEAVIEST, quote


@pytest.mark.parametrize(
    ("zone", "grams", "cents"),
    [("city", 1, 470), ("city", 1000, 470), ("city", 1001, 590), ("abroad", 2500, 1650)],
)
def test_every_kilogram_that_is_begun_counts(zone, grams, cents):
    assert quote(zone, grams).cents == cents


@pytest.mark.parametrize(("zone", "grams"), [("moon", 1), ("city", 0), ("city", HEAVIEST + 1)])
def test_what_is_not_carried(zone, grams):
    with pytest.raises(ValueError, match="no such zone|not between"):
        quote(zone, grams)
