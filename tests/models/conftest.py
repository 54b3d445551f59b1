from one_thread import one_thread  # noqa: F401 - fixtures
from tiny_plm import folders, table, tiny  # noqa: F401
