SIDES = {"triangle": 3, "square": 4}
