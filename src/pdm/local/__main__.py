"""`python -m pdm.local`: the engines alone, for development. Prints "ready" and stays until Ctrl-C or SIGTERM."""

import sys

from pdm.config import load_settings
from pdm.errors import PdmError
from pdm.local.progress import Progress
from pdm.local.signals import stop_on_signals
from pdm.local.stack import LocalStack


def show(progress: Progress) -> None:
    sys.stdout.write(f"{progress.seconds:6.1f} s  {progress.name:14} {progress.state:10} {progress.detail}\n")
    sys.stdout.flush()


def main() -> int:
    try:
        with stop_on_signals() as stop, LocalStack(load_settings(), on_progress=show, stop=stop) as stack:
            sys.stdout.write(f"ready: PDM_DATA_DIR={stack.folder.path}\n")
            sys.stdout.flush()
            stack.wait()
    except PdmError as error:
        sys.stderr.write(f"{error}\n{error.hint}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
