"""Lakes whose declaration is filled with other values."""

from lakehouse.lake import Lake


def with_variables(lake, **variables):
    """The lake with values for the variables of its declaration: ``silver_watermark="1 hour"``."""
    told = {f"LAKEHOUSE_{name.upper()}": value for name, value in variables.items()}
    settings = lake.settings.model_copy(update={"variables": {**lake.settings.variables, **told}})
    return Lake(settings, lake.endpoint, lake.store)
