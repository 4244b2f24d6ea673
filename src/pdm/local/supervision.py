"""All supervised processes of a stack: what is told about them, when to give up, how they end together."""

import contextlib
import threading

from pdm.local.child import Child
from pdm.local.program import Program
from pdm.local.progress import OnProgress, Progress, State
from pdm.local.sweep import stop_all

JOIN_S = 5.0


class Supervision:
    """`stopping` is set once: from then on nothing is started or started again."""

    def __init__(self, on_progress: OnProgress, start_timeout_s: float) -> None:
        self.stopping = threading.Event()
        self._on_progress = on_progress
        self._start_timeout_s = start_timeout_s
        self._children: list[Child] = []
        self._telling = threading.Lock()

    def tell(self, name: str, state: State, seconds: float = 0.0, detail: str = "") -> None:
        self.report(Progress(name, state, seconds, detail))

    def report(self, progress: Progress) -> None:
        with self._telling, contextlib.suppress(OSError):  # a closed terminal must not end the supervision
            self._on_progress(progress)

    def start(self, program: Program) -> Child:
        child = Child(program, self.stopping, self.report, self._start_timeout_s)
        self._children.append(child)
        child.start()
        return child

    def raise_if_hopeless(self) -> None:
        """PdmError when an engine gave up. A role may be away: the others still work."""
        for child in self._children:
            if child.program.is_engine and child.gave_up:
                raise child.gave_up

    def end(self, mark: str) -> None:
        """Stop everything that bears the mark, in order; bounded."""
        for child in self._children:
            if child.gave_up is None:
                self.tell(child.program.name, "stopping")
        stop_all(mark, lambda name, age_s: self.tell(name, "stopped", age_s))
        for child in self._children:
            child.join(JOIN_S)
        stop_all(mark)  # one whose start was under way when the others were asked to end
