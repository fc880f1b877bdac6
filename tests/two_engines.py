"""Test files are shared out to processes, of which two at most start a Spark engine."""

from xdist.scheduler import LoadFileScheduling

WITHOUT_ENGINE = ("tests/store/", "tests/unit/")


class TwoEngines(LoadFileScheduling):
    """``--dist loadfile``, but a third process and those after it only get files that need no engine.

    An engine takes up to 4 GB. Its tests mostly wait for it, so a process without one finds time on two cores.
    """

    def _assign_work_unit(self, node):
        if self._may_start_an_engine(node):
            return super()._assign_work_unit(node)
        scope = next((scope for scope in self.workqueue if scope.startswith(WITHOUT_ENGINE)), None)
        if scope is None:
            return node.shutdown()
        self.workqueue.move_to_end(scope, last=False)
        return super()._assign_work_unit(node)

    def _may_start_an_engine(self, node):
        return self.nodes.index(node) < 2
