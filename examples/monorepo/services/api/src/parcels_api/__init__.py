"""Quotes by HTTP: GET /quotes?zone=city&grams=1200 answers with a list of one."""

import json
from urllib.parse import parse_qs

from parcels import quote

HEADERS = [("Content-Type", "application/json")]


def app(environ, start_response):
    """The WSGI application."""
    if environ["PATH_INFO"] != "/quotes":
        return _answer(start_response, "404 Not Found", {"error": "there is only /quotes"})
    asked = parse_qs(environ["QUERY_STRING"])
    try:
        found = quote(asked["zone"][0], int(asked["grams"][0]))
    except KeyError as error:
        return _answer(start_response, "400 Bad Request", {"error": f"{error.args[0]} is missing"})
    except ValueError as error:
        return _answer(start_response, "400 Bad Request", {"error": str(error)})
    return _answer(start_response, "200 OK", [found.as_dict()])


def _answer(start_response, status, body):
    start_response(status, HEADERS)
    return [json.dumps(body).encode()]
