"""House rules that a reader cannot see at a glance: small files, and imports that load little and start nothing."""

import subprocess
import sys
from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[2]
MAX_LINES = 400
SOURCES = {".py", ".js", ".css", ".html", ".sql", ".yaml", ".tpl"}

# Run in a process of its own: this one has loaded everything already.
# Wrong settings stand in its environment: a module that reads them while it is imported raises.
IMPORT_EVERYTHING = """
import importlib, os, pkgutil, sys
import pdm

DOING = {"socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "os.mkdir", "os.putenv", "signal.signal"}
done = []


def watch(event, args):
    if event in DOING and sys._getframe(1).f_globals.get("__name__", "").startswith("pdm"):
        done.append(f"{event}{args}")


os.environ["PDM_HTTP__PORTAL_PORT"] = "not a number"
sys.addaudithook(watch)
import pdm.ingestor.app, pdm.portal.app, pdm.simulator.app
if "torch" in sys.modules:
    done.append("torch was loaded by a role other than inference")
for module in pkgutil.walk_packages(pdm.__path__, "pdm."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
sys.exit("; ".join(done) or 0)
"""


def test_import_contracts_hold(tmp_path: Path) -> None:
    assert lint_imports(str(ROOT / "pyproject.toml"), cache_dir=str(tmp_path)) == EXIT_STATUS_SUCCESS


def test_no_file_is_long() -> None:
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for folder in ("src", "tests", "deploy")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SOURCES
    }
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}


def test_imports_start_nothing_and_only_inference_loads_torch() -> None:
    command = [sys.executable, "-c", IMPORT_EVERYTHING]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stderr.strip() == ""
    assert ended.returncode == 0


def test_the_ingestor_command_never_loads_torch() -> None:
    program = (
        "import sys; sys.argv = ['pdm', 'run', 'ingestor', '--help']\n"
        "import pdm.cli, pdm.ingestor.app\n"
        "try: pdm.cli.main()\n"
        "except SystemExit: sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
