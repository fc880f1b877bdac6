"""How often a client of Spark Connect repeats a request that failed."""

from pyspark.sql.connect.client.retries import DefaultPolicy

from lakehouse.storage.lease_holder import birth_of


class WhileItLives(DefaultPolicy):
    """Repeats for seconds instead of Spark's ten minutes, and not at all when an engine of ours is dead.

    Args:
        pid: The engine's process; 0 for a server that is none of ours.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(max_retries=5, initial_backoff=50, max_backoff=2000)
        self._pid, self._born = pid, birth_of(pid) if pid else None

    def can_retry(self, e: BaseException) -> bool:
        """Whether the request may succeed when it is repeated."""
        return super().can_retry(e) and (not self._pid or birth_of(self._pid) == self._born)
