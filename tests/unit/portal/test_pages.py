"""What stands in the first paint, rendered by the templates alone."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import pdm.portal
from pdm.portal.page_texts import PAGE_TEXTS
from pdm.portal.pages import SCALES, Overview, render
from pdm.portal.status import MachineStatus, machine_status
from pdm.portal.texts import LOCALES, Locale
from pdm.store.alerts import Alert
from pdm.store.fleet import KnownMachine
from tests.unit.portal.events import EPISODE, NOON

FOLDER = Path(pdm.portal.__file__).parent
STATE_COUNTS = {"critical": 0, "warning": 0, "silent": 0, "normal": 0}


def machine(machine_id: str = "machine-001", **features: str) -> MachineStatus:
    known = KnownMachine(machine_id, "<b>north</b>", None, "L", NOON, None, None, None, None, None)
    return machine_status(machine_id, known, {"last_seen": NOON.isoformat(), **features}, None, now=NOON, stale_s=60)


def alert(**fields: Any) -> Alert:
    given: dict[str, Any] = {
        "episode_id": EPISODE,
        "machine_id": "machine-001",
        "seq": 1,
        "failure_type": "Overstrain",
        "failure_types": ["Overstrain"],
        "severity": "critical",
        "active": True,
        "opened_at": NOON,
        "detected_at": NOON,
        "last_seen_at": NOON,
        "closed_at": None,
        "close_reason": None,
        "score": 1.0,
        "reasons": ["one-minute mean torque 71.3 Nm, limit 65 Nm"],
        "model_version": None,
        "source": "live",
        "received": True,
        "received_at": NOON,
        "received_seq": 1,
        **fields,
    }
    return Alert(**given)


def page(locale: Locale = "ko", machines: tuple[MachineStatus, ...] = (), overview: Overview | None = None) -> str:
    return render(
        "fleet.html",
        locale,
        theme="",
        machines=machines,
        counts=STATE_COUNTS,
        overview=overview or Overview(7, [], []),
        scales=SCALES,
        now=NOON,
    )


@pytest.mark.parametrize("locale", LOCALES)
def test_a_plant_without_machines_is_told_how_to_begin(locale: Locale) -> None:
    shown = page(locale)
    assert PAGE_TEXTS[locale]["no_machines"] in shown
    assert "pdm simulate machine-001" in shown
    assert PAGE_TEXTS[locale]["no_alerts"] in shown


def test_values_and_absent_values() -> None:
    shown = page(machines=(machine(last_torque="42.8449", power_1m_avg="6712"),))
    assert '<b data-f="torque">42.8</b>' in shown
    assert '<b data-f="power">6.71</b>' in shown
    assert '<b data-f="torque_mean">–</b>' in shown


def test_a_mean_beyond_its_limit_is_marked_beside_the_number() -> None:
    assert re.search(r'data-f="torque_bar"[^>]* data-over', page(machines=(machine(torque_1m_avg="71.3"),)))
    assert not re.search(r'data-f="torque_bar"[^>]* data-over', page(machines=(machine(torque_1m_avg="64.9"),)))


def test_an_alert_says_what_why_and_by_whom() -> None:
    recent = alert(active=False, closed_at=NOON + timedelta(seconds=160), close_reason="gap", model_version="m-7")
    shown = page("en", overview=Overview(7, [alert(received=False)], [recent]))
    assert "one-minute mean torque 71.3 Nm" in shown
    assert "by rules" in shown
    assert "not yet relayed" in shown
    assert "ended by a gap in the data" in shown
    assert 'data-lasted="160.0"' in shown
    assert "model m-7" in shown


def test_what_comes_from_outside_is_text_never_markup() -> None:
    hostile = "</script><script>alert(1)</script>"
    shown = page(machines=(machine(),), overview=Overview(7, [alert(reasons=[hostile])], []))
    assert "<script>alert" not in shown
    assert "<b>north</b>" not in shown


def test_the_page_needs_nothing_that_the_policy_forbids() -> None:
    shown = page(machines=(machine(),), overview=Overview(7, [alert()], []))
    assert not re.search(r"\sstyle=|\son\w+=|javascript:", shown)
    assert all("src=" in tag or "application/json" in tag for tag in re.findall(r"<script[^>]*>", shown))
    for path in [*FOLDER.glob("templates/*"), *FOLDER.glob("static/*")]:
        addresses = set(re.findall(r"https?://[^\s\"']+", path.read_text()))
        assert addresses <= {"http://www.w3.org/2000/svg"}, path.name


def test_every_word_that_the_scripts_ask_for_is_there() -> None:
    scripts = "".join(path.read_text() for path in FOLDER.glob("static/*.js"))
    asked = set(re.findall(r"\btexts\.(\w+)", scripts))
    assert asked
    assert asked <= PAGE_TEXTS["ko"].keys()


def test_no_word_is_left_over() -> None:
    sources = "".join(path.read_text() for path in [*FOLDER.glob("templates/*"), *FOLDER.glob("static/*.js")])
    by_name = {"critical", "warning", "silent", "normal", "seconds", "minutes", "hours", "days"}
    by_name |= {"Overstrain", "HeatDissipation", "Power", "ToolWear", "Unknown", "cleared"}
    unused = {
        name for name in PAGE_TEXTS["ko"] if name not in by_name and not re.search(rf"\b(t|texts)\.{name}\b", sources)
    }
    assert not unused
