"""Prints one line about a JUnit report."""

import sys
import xml.etree.ElementTree as ET

suites = list(ET.parse(sys.argv[1]).getroot().iter("testsuite"))
tests, failures, errors = (
    sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "failures", "errors")
)
print(f"{tests} tests, {failures} failures, {errors} errors")
if failures or errors or not tests:
    sys.exit("the report is not green")
