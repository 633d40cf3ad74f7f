import shapes


def test_sides():
    assert shapes.SIDES["square"] == 4
