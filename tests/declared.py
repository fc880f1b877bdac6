"""Lakes with another declaration than the project's own."""

from dataclasses import replace


def with_variables(lake, **values):
    """The same lake with other values in its declaration: ``silver_watermark`` is ``LAKEHOUSE_SILVER_WATERMARK``."""
    named = {f"LAKEHOUSE_{name.upper()}": str(value) for name, value in values.items()}
    settings = lake.settings
    return replace(lake, settings=settings.model_copy(update={"variables": {**settings.variables, **named}}))


def with_declaration(lake, folder, text):
    """The same lake with the tables of ``text``; ``{landing}`` in it is the lake's own landing folder."""
    path = folder / "lakehouse.yaml"
    path.write_text(text.replace("{landing}", lake.settings.landing_uri.rstrip("/")))
    return replace(lake, settings=lake.settings.model_copy(update={"declaration": path}))
