"""Quotes for a whole file of orders."""

import csv
from collections.abc import Iterable

from parcels import Quote, quote


def quotes(lines: Iterable[str]) -> list[Quote]:
    """A quote for each line. ValueError, with the line's number, for what is not carried."""
    reader = csv.DictReader(lines)
    found = []
    for row in reader:
        try:
            found.append(quote(row["zone"], int(row["grams"])))
        except ValueError as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error
    return found
