"""Parts of paths: ids, and slugs, which must not hide the service's own addresses."""

from __future__ import annotations

import re

from werkzeug.routing import BaseConverter, PathConverter

from api.core.ids import MAX_ID
from api.core.slugs import RESERVED


class IdConverter(BaseConverter):
    """An id in a path: decimal digits of a 63-bit number. Anything else is an unknown path."""

    regex = "[0-9]{1,19}"

    def to_python(self, value: str) -> int:
        number = int(value)
        # Past what an id can be it is nobody's, like 0. (A ValidationError would answer methods
        # other than GET with 405.)
        return number if number <= MAX_ID else 0


class SlugConverter(PathConverter):
    """The rest of a path, unless its first segment is reserved: such a path is not a slug's."""

    regex = rf"(?!(?i:{'|'.join(map(re.escape, sorted(RESERVED)))})(?:/|$))[^/].*?"
