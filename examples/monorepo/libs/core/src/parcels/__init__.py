"""What it costs to send a parcel."""

from dataclasses import asdict, dataclass

BASE = {"city": 350, "country": 490, "abroad": 1290}
"""By zone, in cents."""
PER_KILOGRAM = 120
HEAVIEST = 31_500


@dataclass(frozen=True)
class Quote:
    """A price in cents for a parcel of some grams."""

    zone: str
    grams: int
    cents: int

    def as_dict(self) -> dict[str, str | int]:
        return asdict(self)


def quote(zone: str, grams: int) -> Quote:
    """Every kilogram that is begun counts. ValueError for what is not carried."""
    if zone not in BASE:
        raise ValueError(f"no such zone: {zone}")
    if not 0 < grams <= HEAVIEST:
        raise ValueError(f"not between 1 and {HEAVIEST} g: {grams}")
    return Quote(zone, grams, BASE[zone] + PER_KILOGRAM * -(-grams // 1000))
