import json
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import pytest
from jsonschema import validate

import parcels
from parcels_api import app

SCHEMA = Path("../../libs/schema/dist/quotes.schema.json")


def get(query, path="/quotes"):
    environ = {"PATH_INFO": path, "QUERY_STRING": query}
    setup_testing_defaults(environ)
    statuses = []
    body = b"".join(app(environ, lambda status, _headers: statuses.append(status)))
    return statuses[0], json.loads(body)


def test_the_library_comes_from_its_wheel():
    assert ".whl" in parcels.__file__


def test_a_quote_is_what_the_schema_says():
    status, body = get("zone=city&grams=1200")
    assert (status, body) == ("200 OK", [{"zone": "city", "grams": 1200, "cents": 590}])
    validate(body, json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("zone=moon&grams=1", "no such zone: moon"),
        ("zone=city", "grams is missing"),
        ("zone=city&grams=0", "not between 1 and 31500 g: 0"),
    ],
)
def test_a_bad_request(query, error):
    assert get(query) == ("400 Bad Request", {"error": error})


def test_another_path():
    assert get("", path="/")[0] == "404 Not Found"
