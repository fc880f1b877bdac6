from engine_fixtures import land, spark  # noqa: F401
