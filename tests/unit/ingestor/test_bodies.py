"""How much of dead letters' bodies is kept."""

from pdm.ingestor.bodies import Bodies
from pdm.ingestor.decode import MAX_DETAIL_CHARS, decode_batch
from pdm.store.dead_letters import DeadLetter
from tests.records import NOON, raw_record, reading_json

HALF_MB = b"x" * (512 * 1024)


def letter(offset: int, key: bytes | None, value: bytes | None) -> DeadLetter:
    return DeadLetter("sensor-raw-data", 0, offset, NOON, "invalid_json", "no JSON", key, value)


def test_bodies_are_kept_up_to_the_cap_and_what_is_small_still_finds_room() -> None:
    bodies = Bodies(cap_mb=1)
    batch = [letter(1, None, HALF_MB), letter(2, b"k", HALF_MB), letter(3, b"k", None), letter(4, None, None)]

    kept = bodies.keep(batch)

    assert [(x.offset, x.key, len(x.value or b"")) for x in kept] == [
        (1, None, len(HALF_MB)),
        (2, None, 0),
        (3, b"k", 0),
        (4, None, 0),
    ]
    assert [x.detail for x in kept] == [
        "no JSON",
        "no JSON; its body is not kept: dead letters hold 1 MB already",
        "no JSON",
        "no JSON",
    ]


def test_a_batch_that_is_tried_again_counts_once() -> None:
    bodies = Bodies(cap_mb=1)
    for _ in range(3):  # the first two failed in the database
        bodies.keep([letter(1, None, HALF_MB)])
    bodies.committed()

    assert bodies.kept_bytes == len(HALF_MB)
    assert bodies.keep([letter(2, None, HALF_MB)])[0].value == HALF_MB


def test_a_detail_that_quotes_the_record_is_cut() -> None:
    (found,) = decode_batch((raw_record(reading_json(product_type="L" * 60_000)),)).rejected

    assert found.reason == "wrong_type"
    assert len(found.detail) == MAX_DETAIL_CHARS
