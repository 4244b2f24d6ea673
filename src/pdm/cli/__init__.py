"""The command `pdm`: one module a command. Owns words and exit codes; the work is done below.

Commands import what they need inside their function: `pdm --help` is quick, and no role loads another.
"""

import sys
import traceback
from typing import Annotated

import typer

import pdm
from pdm.cli import demo, dlq, doctor, output, run, setup, simulate, status, up
from pdm.errors import Misconfigured

FAILED, MISCONFIGURED, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="pdm",
    help="Real-time predictive maintenance: readings in, explained alerts out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("demo")(demo.demo)
app.command("simulate")(simulate.simulate)
app.command("status")(status.status)
app.command("run")(run.run)
app.command("setup")(setup.setup)
app.command("doctor")(doctor.doctor)
app.add_typer(dlq.app, name="dlq")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        output.say(f"pdm {pdm.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the whole trace of an error, and the libraries' logs.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    del version
    output.calm_libraries(is_debug=debug)


def main() -> None:
    """Run the command line; never returns. `--debug` may stand anywhere in it."""
    output.set_up_streams()
    is_debug = "--debug" in sys.argv[1:]
    args = [*(["--debug"] if is_debug else []), *(arg for arg in sys.argv[1:] if arg != "--debug")]
    try:
        app(args, prog_name="pdm")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001  # the one place where nothing may pass: a person never sees a trace
        if is_debug:
            traceback.print_exc()
        output.say_error(error)
        sys.exit(MISCONFIGURED if isinstance(error, Misconfigured) else FAILED)
