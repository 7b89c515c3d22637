"""The country of an address, from the GeoLite2 data that ship with `geoip2fast`; never online."""

from __future__ import annotations

import logging
import os
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

from api.clicks.enrichment.addresses import block_address

log = logging.getLogger(__name__)

_DATA_FILE = "geoip2fast-ipv6.dat.gz"
_CODE_LENGTH = 2
# What the library sets when it is imported, and child processes would inherit.
_VARIABLES = ("PYTHONWARNINGS", "PYTHONIOENCODING")


class Countries:
    """Looks countries up; without the library or its data every country is unknown."""

    def __init__(self, data_file: Path | None = None, cache_entries: int = 200_000) -> None:
        self._lookup = _load(data_file)
        self.country_of = lru_cache(cache_entries)(self._country_of)

    def _country_of(self, block: bytes) -> str:
        """The country of a block of neighbours: two capital letters of ISO 3166-1, or nothing."""
        if self._lookup is None:
            return ""
        code = str(self._lookup.lookup(block_address(block)).country_code)
        # Private and unknown networks and errors have other codes, and some entries are continents.
        return code if len(code) == _CODE_LENGTH and code.isalpha() and code.isupper() else ""


def _load(data_file: Path | None) -> Any:
    before = {name: os.environ.get(name) for name in _VARIABLES}
    try:
        with warnings.catch_warnings():
            # Its source has invalid escapes, which are errors where warnings are.
            warnings.simplefilter("ignore")
            import geoip2fast  # noqa: PLC0415 - optional, and tens of megabytes
        # The full path: a bare name would be looked for in the working directory first, and the
        # file is a pickle.
        path = data_file or Path(geoip2fast.__file__).parent / _DATA_FILE
        return geoip2fast.GeoIP2Fast(geoip2fast_data_file=str(path))
    except Exception as error:
        log.warning("countries are unknown, as their data cannot be loaded: %s", error)
        return None
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
