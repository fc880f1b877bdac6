"""The lake as a resource."""

import dagster as dg

from lakehouse.lake import Lake
from lakehouse.settings import Settings


class LakeResource(dg.ConfigurableResource):
    """Opens the lake that the ``LAKEHOUSE_*`` variables name; a field that is set wins over its variable.

    Keys of the object store are not among the fields: they come from the environment or from the generated file,
    and are never shown by Dagster.
    """

    home: str | None = None
    user: str | None = None
    bucket: str | None = None
    landing_bucket: str | None = None
    landing_prefix: str | None = None

    def settings(self) -> Settings:
        """The environment's settings with the fields that are set.

        Raises:
            ConfigurationError: a variable or a field is wrong.
        """
        return Settings.load(**{name: value for name in self._names() if (value := getattr(self, name)) is not None})

    def open(self) -> Lake:
        """The lake, with its store running; see ``Lake.open`` for the errors."""
        return Lake.open(self.settings())

    @staticmethod
    def _names() -> tuple[str, ...]:
        return ("home", "user", "bucket", "landing_bucket", "landing_prefix")
