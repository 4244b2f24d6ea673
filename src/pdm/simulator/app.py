"""The simulator's wiring: broker, outlet, fleet, routes, health. Nothing runs before `pdm.runtime.run_role`."""

from pdm.broker import make_broker
from pdm.config import Settings
from pdm.http import Checks, make_http_app
from pdm.runtime import Role
from pdm.simulator.fleet import Caps, Fleet
from pdm.simulator.outlet import Outlet
from pdm.simulator.routes import add_routes


def build(settings: Settings) -> Role:
    """Raises Misconfigured when the role would listen beyond loopback without an API key."""
    broker = make_broker(settings.kafka, "simulator")
    outlet = Outlet(broker)
    fleet = Fleet(outlet, Caps.of(settings.simulator, settings.inference.max_interval_s))
    checks = Checks(
        live={"producer": outlet.check_producer}, ready={"kafka": outlet.check_kafka, "machines": fleet.check_sending}
    )
    http = make_http_app("simulator", settings.http, checks)
    add_routes(http, fleet)

    async def drain() -> None:
        await fleet.close()
        await outlet.close()

    return Role("simulator", http, broker, background={"machines": fleet.watch}, drain=drain)
