"""Dead letters on a real PostgreSQL: replayed once, dropped, capped, and harmless to look at."""

import json
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.plant import Plant, reading, together, write
from tests.records import NOON, raw_record, reading_json
from typer.testing import CliRunner

import pdm.cli
from pdm.config import Settings
from pdm.dead_letters import Desk, Outcome
from pdm.errors import PdmError
from pdm.events import MAX_RECORD_BYTES
from pdm.ingestor.bodies import Bodies
from pdm.store.letter_desk import Choice
from pdm.store.pool import connect

DAY = timedelta(days=1)
WAITING = Choice(is_replayed=False)
FAR = NOON + 10 * DAY  # too new at noon, but not three days later

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def desk_of(stack: Settings, plant: Plant) -> Desk:
    return Desk(stack.model_copy(update={"main_db": plant.database}), plant.now)


@pytest.fixture
def run(plant: Plant, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Run:
    """The real command line, on the test's own database."""
    monkeypatch.setenv("PDM_DATA_DIR", f"{tmp_path}/absent")
    monkeypatch.setenv("PDM_MAIN_DB__URL", plant.database.url)
    password = plant.database.password("ingestor")
    monkeypatch.setenv("PDM_MAIN_DB__INGESTOR_PASSWORD", password.get_secret_value() if password else "")

    def run(*args: str, typed: str = "") -> tuple[int, str]:
        result = CliRunner().invoke(pdm.cli.app, ["dlq", *args], input=typed)
        if isinstance(result.exception, PdmError):
            raise result.exception
        return result.exit_code, result.output

    return run


def replay(desk: Desk, choice: Choice = WAITING, *, is_trial: bool = False) -> Outcome:
    outcome = Outcome()
    for part in desk.replay(choice, desk.amount(choice).newest_id, is_trial=is_trial):
        outcome.add(part)
    return outcome


def set_aside(plant: Plant) -> None:
    """One of each fate: too new for now, a conflict, and never a reading."""
    far = [raw_record(reading_json(timestamp=FAR + timedelta(seconds=n)), 10 + n, key=b"machine-001") for n in range(2)]
    write(plant.writer(), reading(1, 1), *far, reading(1, 20, torque_nm=99.0), raw_record(b'{"rpm": ', 30))


def test_what_fits_by_now_is_stored_and_the_rest_stays_with_its_reason(plant: Plant, desk_of: Desk) -> None:
    set_aside(plant)
    assert replay(desk_of).stored == 0

    plant.time = NOON + 3 * DAY
    outcome = replay(desk_of)

    assert (outcome.stored, outcome.already_stored, outcome.bodiless) == (2, 0, 0)
    assert outcome.refused == {"conflicting_duplicate": 1, "invalid_json": 1}
    assert plant.rows("SELECT timestamp, torque_nm FROM sensor_log ORDER BY 1") == [
        (NOON + timedelta(seconds=1), 42.8),
        (FAR, 42.8),
        (FAR + timedelta(seconds=1), 42.8),
    ]
    assert plant.rows("SELECT reason, replayed_at IS NOT NULL FROM dead_letter ORDER BY id") == [
        ("too_new", True),
        ("too_new", True),
        ("conflicting_duplicate", False),
        ("invalid_json", False),
    ]


def test_the_minutes_of_replayed_readings_are_rolled_up(plant: Plant, desk_of: Desk) -> None:
    set_aside(plant)
    plant.time = FAR
    replay(desk_of)

    plant.roll_up(after=timedelta(minutes=5))

    assert plant.rows("SELECT n FROM sensor_minute WHERE minute = '2025-11-17T12:00Z'") == [(2,)]


def test_a_second_replay_changes_nothing(plant: Plant, desk_of: Desk) -> None:
    set_aside(plant)
    plant.time = FAR
    replay(desk_of)
    once = plant.dump()

    again = replay(desk_of)

    assert (again.stored, again.already_stored, again.letters) == (0, 0, 2)
    assert plant.dump() == once


def test_two_replays_at_once_store_each_letter_once(plant: Plant, desk_of: Desk) -> None:
    letters = [raw_record(reading_json(timestamp=FAR + timedelta(seconds=n)), n) for n in range(2_000)]
    write(plant.writer(), *letters)
    plant.time = FAR
    outcomes: list[Outcome] = []

    together(2, lambda _: outcomes.append(replay(desk_of)))

    assert sum(outcome.stored for outcome in outcomes) == len(letters)
    assert sum(outcome.already_stored for outcome in outcomes) == 0
    assert plant.rows("SELECT count(*) FROM sensor_log") == [(len(letters),)]


def test_a_letter_takes_the_reason_that_it_has_now(plant: Plant, desk_of: Desk) -> None:
    write(plant.writer(), raw_record(reading_json(timestamp=FAR), 1))
    plant.time = FAR
    write(plant.writer(), raw_record(reading_json(timestamp=FAR, rpm=9), 2))

    assert replay(desk_of).refused == {"conflicting_duplicate": 1}
    assert plant.rows("SELECT reason, detail FROM dead_letter") == [
        ("conflicting_duplicate", "other values are stored for machine-001 at 2025-11-17T12:00:00+00:00")
    ]


def test_the_same_values_sent_again_meanwhile_count_as_replayed(plant: Plant, desk_of: Desk) -> None:
    write(plant.writer(), raw_record(reading_json(timestamp=FAR), 1))
    plant.time = FAR
    write(plant.writer(), raw_record(reading_json(timestamp=FAR), 2))

    outcome = replay(desk_of)

    assert (outcome.stored, outcome.already_stored, outcome.letters) == (0, 1, 1)
    assert replay(desk_of).letters == 0


def test_a_trial_tells_the_same_and_changes_nothing(plant: Plant, desk_of: Desk) -> None:
    set_aside(plant)
    plant.time = FAR
    before = plant.dump()

    trial = replay(desk_of, is_trial=True)

    assert plant.dump() == before
    assert trial == replay(desk_of)


def test_a_slice_that_fails_late_leaves_neither_rows_nor_marks(plant: Plant, desk_of: Desk) -> None:
    set_aside(plant)
    plant.time = FAR
    before = plant.dump()
    with connect(plant.database.conninfo("owner"), "test") as conn:
        conn.execute("ALTER TABLE sensor_minute_due RENAME TO away")

    with pytest.raises(PdmError):
        replay(desk_of)

    with connect(plant.database.conninfo("owner"), "test") as conn:
        conn.execute("ALTER TABLE away RENAME TO sensor_minute_due")
    assert plant.dump() == before
    assert replay(desk_of).stored == 2


def test_a_replay_left_between_two_slices_goes_on_where_it_stopped(plant: Plant, desk_of: Desk) -> None:
    write(plant.writer(), *(raw_record(reading_json(timestamp=FAR + timedelta(seconds=n)), n) for n in range(1_200)))
    plant.time = FAR
    slices = desk_of.replay(WAITING, desk_of.amount(WAITING).newest_id)
    first = next(slices)
    slices.close()  # type: ignore[attr-defined]  # as Ctrl-C does

    stored, marked = "SELECT count(*) FROM sensor_log", "SELECT count(replayed_at) FROM dead_letter"
    assert plant.rows(stored) == plant.rows(marked) == [(first.stored,)]
    assert replay(desk_of).stored == 1_200 - first.stored


def test_a_body_that_was_cut_or_not_kept_is_not_replayed(plant: Plant, desk_of: Desk) -> None:
    blank = reading_json().ljust(MAX_RECORD_BYTES + 1)  # cut, it still is a reading
    write(plant.writer(body_mb=0), raw_record(reading_json(timestamp=FAR), 1))
    write(plant.writer(), raw_record(blank, 2))
    plant.time = FAR
    before = plant.dump()

    outcome = replay(desk_of)

    assert (outcome.bodiless, outcome.letters) == (2, 2)
    assert plant.dump() == before


def test_past_the_cap_a_letter_keeps_everything_but_its_body(plant: Plant) -> None:
    writer = plant.writer(body_mb=1)
    kilobyte = b"x" * 1024

    for start in range(0, 2_000, 500):
        write(writer, *(raw_record(kilobyte, start + n, key=b"m") for n in range(500)))

    rows = plant.rows("SELECT count(*), count(value), count(key), sum(octet_length(value)) FROM dead_letter")
    assert rows == [(2_000, 1_023, 1_023, 1_023 * 1024)]  # a key's byte each
    lacking = plant.rows("SELECT reason, detail, kafka_offset FROM dead_letter WHERE value IS NULL ORDER BY id LIMIT 1")
    assert lacking[0][0] == "invalid_json"
    assert lacking[0][1].endswith("; its body is not kept: dead letters hold 1 MB already")
    assert plant.rows("SELECT sum(octet_length(key)) + sum(octet_length(value)) <= 1048576 FROM dead_letter") == [
        (True,)
    ]


def test_a_restarted_ingestor_counts_what_is_there_and_a_drop_makes_room(plant: Plant, desk_of: Desk) -> None:
    write(plant.writer(), *(raw_record(b"x" * 1024, n) for n in range(1_200)))
    fresh = plant.writer(body_mb=1)
    fresh.bodies.count(plant.conninfo)
    write(fresh, raw_record(b"x" * 10, 5_000))
    assert plant.rows("SELECT value FROM dead_letter WHERE kafka_offset = 5000") == [(None,)]

    everything = Choice()
    assert sum(desk_of.drop(everything, desk_of.amount(everything).newest_id)) == 1_201
    roomy = plant.writer(body_mb=1)
    roomy.bodies.count(plant.conninfo)
    write(roomy, raw_record(b"x" * 10, 6_000))
    assert plant.rows("SELECT value FROM dead_letter") == [(b"x" * 10,)]


def test_counting_takes_a_small_share_of_the_time(plant: Plant) -> None:
    seconds = iter([0.0, 2.0, 100.0, 200.0, 203.0])
    bodies = Bodies(1, monotonic_s=lambda: next(seconds))
    write(plant.writer(), raw_record(b"x", 1))
    bodies.count(plant.conninfo)  # took two seconds
    assert bodies.kept_bytes == 1
    write(plant.writer(), raw_record(b"xx", 2))

    bodies.count(plant.conninfo)  # at 100 s: too early
    assert bodies.kept_bytes == 1

    bodies.count(plant.conninfo)
    assert bodies.kept_bytes == 3


def test_a_drop_takes_what_was_chosen_and_nothing_newer(plant: Plant, desk_of: Desk) -> None:
    set_aside(plant)
    plant.time = FAR
    replay(desk_of)
    replayed = Choice(is_replayed=True)
    amount = desk_of.amount(replayed)
    write(plant.writer(), raw_record(b"later", 99))

    assert amount.letters == 2
    assert sum(desk_of.drop(replayed, amount.newest_id)) == 2
    assert sorted(plant.rows("SELECT reason FROM dead_letter")) == [
        ("conflicting_duplicate",),
        ("invalid_json",),
        ("invalid_json",),
    ]


HOSTILE = b'\x1b]0;owned\x07\x1b[2J{"machine_id":"m-7","rpm":1}\r\xe2\x80\xae\xff'


def test_bytes_hostile_to_a_terminal_are_shown_as_escapes_and_raw_only_when_asked(plant: Plant, run: Run) -> None:
    enum = reading_json(product_type="\x1b[31m")
    write(plant.writer(), raw_record(HOSTILE, 1, key=b"\x1b[31m"), raw_record(enum, 2))
    ids = [id_ for (id_,) in plant.rows("SELECT id FROM dead_letter ORDER BY kafka_offset")]

    for args in (["list"], ["list", "--json"], ["show", str(ids[0])], ["show", str(ids[1])]):
        code, output = run(*args)
        assert code == 0
        assert all(char.isprintable() or char == "\n" for char in output), output
    assert "\\x1b]0;owned\\x07" in run("show", str(ids[0]))[1]
    result = CliRunner().invoke(pdm.cli.app, ["dlq", "show", "--raw", str(ids[0])])
    assert result.stdout_bytes == HOSTILE


def test_an_operator_lists_replays_and_drops(plant: Plant, run: Run) -> None:
    set_aside(plant)
    write(plant.writer(), raw_record(b'{"machine_id": "m-7"}', 40), raw_record(reading_json("m-8", FAR), 41))
    code, output = run("list", "--limit", "2")
    assert code == 0
    assert re.search(r"^ +3 +0 .* too_new$", output, re.MULTILINE)
    before = re.search(r"add --before (\d+)", output)
    assert before
    assert "add --before" not in run("list", "--before", before[1])[1]

    found = json.loads(run("list", "--json", "--machine", "m-7")[1])
    assert [letter["reason"] for letter in found["letters"]] == ["missing_field"]
    assert run("list", "--machine", "m-8", "--since", "1h")[1].count("too_new") == 2  # the summary and its row
    assert run("list", "--reason", "bad_channel") == (0, "No dead letters.\n")

    code, output = run("replay", "--reason", "invalid_json")
    assert (code, output.splitlines()[-1].split()) == (0, ["1", "stay:", "invalid_json"])
    assert run("replay", "--all", "--dry-run")[0] == 0
    with pytest.raises(PdmError, match="no dead letter 999999"):
        run("replay", "999999")

    code, output = run("drop", "--reason", "missing_field", typed="n\n")
    assert (code, "Drop 1 dead letter with 21 bytes, 1 of them never replayed?" in output) == (1, True)
    assert run("drop", "--reason", "missing_field", "--yes") == (0, "Dropped 1 dead letter.\n")
    assert run("drop", "--older-than", "1d", "--yes") == (
        0,
        "Nothing to drop: none meets all of these conditions.\n",
    )
    assert run("list", "--reason", "missing_field")[1] == "No dead letters.\n"
