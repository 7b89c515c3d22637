"""What Kubernetes' own schemas say of a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_taken(document: Mapping[str, Any], version: str) -> bool:
    """Whether a Kubernetes of this version takes it, and knows each of its fields.

    Raises:
        kubernetes_validate.VersionNotSupportedError: nobody knows that version.
    """
    # Takes two seconds to load, which every process of the tests would spend at its start.
    import kubernetes_validate

    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        print(error)  # noqa: T201 - pytest shows it where a test fails
        return False
    return True
