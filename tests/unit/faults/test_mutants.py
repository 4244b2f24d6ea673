"""Every broken variant can still be made: its text stands in the source, and the fault that exposes it exists."""

from pathlib import Path

import pytest

from tests.faults.catalogue import all_faults
from tests.faults.mutants import MUTANTS, Mutant, make_source


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_its_source_compiles_and_differs(mutant: Mutant, tmp_path: Path) -> None:
    source = make_source(mutant, tmp_path)
    for file, old, _ in mutant.edits:
        text = (source / "pdm" / file).read_text()
        assert old not in text or old in mutant.edits[0][2]
        compile(text, file, "exec")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_exposes_it_exists(mutant: Mutant) -> None:
    file, _, test = mutant.caught_by.partition("::")
    if test:
        assert f"def {test}(" in (Path(__file__).parents[3] / file).read_text()
    else:
        assert mutant.caught_by in {fault.name for fault in all_faults()}


def test_no_two_faults_have_one_name() -> None:
    names = [fault.name for fault in all_faults()]
    assert len(set(names)) == len(names)
