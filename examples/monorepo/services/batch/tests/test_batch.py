import pytest

from parcels_batch import quotes


def test_a_quote_for_each_line():
    found = quotes(["zone,grams", "city,800", "abroad,12000"])
    assert [quote.cents for quote in found] == [470, 2730]


def test_an_error_names_the_line():
    with pytest.raises(ValueError, match=r"^line 3: no such zone: moon$"):
        quotes(["zone,grams", "city,800", "moon,1"])
