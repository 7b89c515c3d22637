"""Parts of paths: ids, and slugs, which must not hide the service's own addresses."""

from __future__ import annotations

import re

from werkzeug.routing import BaseConverter, PathConverter, ValidationError

from api.core.ids import MAX_ID
from api.core.slugs import RESERVED


class IdConverter(BaseConverter):
    """An id in a path: decimal digits of a 63-bit number. Anything else is an unknown path."""

    regex = "[0-9]{1,19}"

    def to_python(self, value: str) -> int:
        number = int(value)
        if number > MAX_ID:
            raise ValidationError
        return number


class SlugConverter(PathConverter):
    """The rest of a path, unless its first segment is reserved: such a path is not a slug's."""

    regex = rf"(?!(?i:{'|'.join(map(re.escape, sorted(RESERVED)))})(?:/|$))[^/].*?"
