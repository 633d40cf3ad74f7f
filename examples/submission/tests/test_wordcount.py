import pytest
from wordcount import count, most_common


def test_count_ignores_case():
    assert count("To be or not to be") == {"to": 2, "be": 2, "or": 1, "not": 1}


def test_most_common():
    assert most_common("a b b") == "b"


def test_no_words():
    with pytest.raises(ValueError, match="no words"):
        most_common(" ")
