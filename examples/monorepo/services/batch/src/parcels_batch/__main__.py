"""python -m parcels_batch < orders.csv > quotes.json"""

import json
import sys

from parcels_batch import quotes

json.dump([quote.as_dict() for quote in quotes(sys.stdin)], sys.stdout, indent=2)
