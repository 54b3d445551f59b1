from tiny_plm import table, tiny  # noqa: F401 - fixtures
