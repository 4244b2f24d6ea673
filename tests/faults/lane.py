"""One lane: a stack of its own that runs the jobs it reads from standard input, one JSON line each, until its end."""

import json
import logging
import shutil
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from tests.faults.catalogue import all_faults
from tests.faults.fault import Fault
from tests.faults.rig import Rig
from tests.faults.runner import Result


def main(answers: TextIO) -> None:
    logging.disable(logging.CRITICAL)  # aiokafka tells of every connection that a fault cuts
    faults = {fault.name: fault for fault in all_faults()}
    folder = Path(tempfile.mkdtemp(prefix="pdm-faults-"))
    folder.chmod(0o711)
    has_failed = False
    try:
        with Rig(folder) as rig:
            for line in sys.stdin:
                job = json.loads(line)
                result = _run(rig, faults[job["name"]], job["seed"])
                has_failed |= bool(result.findings)
                answers.write(json.dumps(asdict(result), ensure_ascii=False) + "\n")
                answers.flush()
    finally:
        if has_failed:
            sys.stderr.write(f"the logs of the failed faults: {folder / 'logs'}\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _run(rig: Rig, fault: Fault, seed: int) -> Result:
    began = time.monotonic()
    try:
        run = fault.run(rig, seed)
        findings, figures = run.findings, run.figures
    except Exception as error:  # noqa: BLE001  # one fault's error must not end the lane
        findings, figures = [f"the fault itself failed: {error!r}", traceback.format_exc()[-1500:]], {}
    return Result(fault.name, list(fault.rows), seed, round(time.monotonic() - began, 1), findings, figures)


if __name__ == "__main__":
    main(sys.stdout)
