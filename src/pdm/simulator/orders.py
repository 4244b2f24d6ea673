"""What a machine was told to do and for how long: the order it runs on and the one in force for a while. Pure."""

from dataclasses import dataclass

from pdm.simulator.machine import Operation


@dataclass(slots=True)
class Order:
    """`duration_s` None: it does not end by itself. It counts from the first reading taken under the order."""

    operation: Operation
    duration_s: float | None = None
    begins_s: float | None = None  # the machine's elapsed time at that reading

    @property
    def ends_s(self) -> float | None:
        return None if self.begins_s is None or self.duration_s is None else self.begins_s + self.duration_s

    def is_over(self, elapsed_s: float) -> bool:
        return self.ends_s is not None and elapsed_s >= self.ends_s


@dataclass(slots=True)
class Orders:
    """`base` is what the machine returns to once `passing` is over; when both are over the machine stops."""

    base: Order
    passing: Order | None = None
    turn: int = 1  # counts the changes of the order in force

    @property
    def newest(self) -> Order:
        return self.passing or self.base

    def give(self, order: Order) -> None:
        """An order without an end takes the place of all before; one with an end only for its time."""
        if order.duration_s is None:
            self.base, self.passing = order, None
        else:
            self.passing = order
        self.turn += 1

    def in_force(self, elapsed_s: float) -> Order | None:
        """The order for a reading at `elapsed_s`, which never goes back; None: stop."""
        if self.passing is not None and self.passing.is_over(elapsed_s):
            self.passing = None
            self.turn += 1
        order = self.newest
        if order.is_over(elapsed_s):
            return None
        if order.begins_s is None:
            order.begins_s = elapsed_s
        return order
