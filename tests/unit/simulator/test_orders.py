"""Which order is in force: switching, returning to the one before, and stopping."""

from pdm.simulator.machine import Operation
from pdm.simulator.orders import Order, Orders
from pdm.simulator.profiles import PROFILES, ProfileName


def order(profile: ProfileName, duration_s: float | None = None) -> Order:
    return Order(Operation(PROFILES[profile]), duration_s)


def names(orders: Orders, *at_s: float) -> list[str | None]:
    found = [orders.in_force(second) for second in at_s]
    return [None if one is None else one.operation.profile.name for one in found]


def test_without_a_duration_an_order_holds_for_ever() -> None:
    assert names(Orders(order("normal")), 0, 1e7) == ["normal", "normal"]


def test_a_machine_stops_after_its_only_order() -> None:
    assert names(Orders(order("normal", 60)), 0, 59, 60) == ["normal", "normal", None]


def test_a_fault_passes_and_the_machine_returns_to_the_profile_before() -> None:
    orders = Orders(order("normal"))
    assert names(orders, 0, 10) == ["normal", "normal"]
    orders.give(order("overstrain", 5))
    assert names(orders, 11, 15, 16) == ["overstrain", "overstrain", "normal"]


def test_the_duration_counts_from_the_first_reading() -> None:
    orders = Orders(order("normal"))
    orders.give(order("power", 5))
    assert names(orders, 100, 104, 105) == ["power", "power", "normal"]


def test_a_second_fault_takes_the_place_of_the_first() -> None:
    orders = Orders(order("normal"))
    orders.give(order("overstrain", 100))
    names(orders, 0)
    orders.give(order("power", 10))
    assert names(orders, 1, 11) == ["power", "normal"]


def test_an_order_without_an_end_replaces_all_before() -> None:
    orders = Orders(order("normal", 60))
    orders.give(order("overstrain", 10))
    names(orders, 0)
    orders.give(order("ai4i"))
    assert names(orders, 1, 1000) == ["ai4i", "ai4i"]


def test_the_machine_stops_when_the_order_before_is_over_too() -> None:
    orders = Orders(order("normal", 10))
    names(orders, 0)
    orders.give(order("power", 20))
    assert names(orders, 1, 20, 21) == ["power", "power", None]


def test_each_change_is_a_turn() -> None:
    orders = Orders(order("normal"))
    names(orders, 0)
    orders.give(order("power", 1))
    names(orders, 1, 2)
    assert orders.turn == 3
