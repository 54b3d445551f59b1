"""Of a method's settings, those that say how it is trained."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Self


class FromSettings:
    """Base of the dataclasses whose fields are settings of a method by the same names."""

    @classmethod
    def split(cls, settings: Mapping[str, Any]) -> tuple[Self, dict[str, Any]]:
        """The recipe that the settings hold, and the settings that are the model's own."""
        names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        own = {name: value for name, value in settings.items() if name not in names}
        return cls(**{name: value for name, value in settings.items() if name in names}), own
