from typing import get_args

import pytest

from pdm.events import FailureType, Severity, Transition
from pdm.portal.page_texts import PAGE_TEXTS, choose_locale
from pdm.portal.texts import LOCALES, Locale, alert_line
from tests.unit.portal.events import alert_event


def test_the_line_of_the_plan() -> None:
    assert alert_line(alert_event(), "ko", is_open=True) == "!!긴급!! machine-001 과부하 감지"
    assert alert_line(alert_event(), "en", is_open=True) == "!!URGENT!! machine-001 overstrain detected"


def test_a_warning_is_less_urgent_and_an_end_not_urgent_at_all() -> None:
    warning = alert_event(severity="warning", failure_type="HeatDissipation")
    assert alert_line(warning, "ko", is_open=True) == "!주의! machine-001 방열 불량 감지"
    assert alert_line(warning, "en", is_open=True) == "!WARNING! machine-001 heat dissipation failure detected"
    cleared = alert_event(event="cleared")
    assert alert_line(cleared, "ko", is_open=False) == "machine-001 과부하 해소"
    assert alert_line(cleared, "en", is_open=False) == "machine-001 overstrain cleared"


def test_what_is_over_before_it_is_told_says_so() -> None:
    assert alert_line(alert_event(), "ko", is_open=False) == "!!긴급!! machine-001 과부하 감지 (이미 해소됨)"
    assert alert_line(alert_event(), "en", is_open=False).endswith("detected (cleared meanwhile)")


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("failure_type", get_args(FailureType))
@pytest.mark.parametrize("severity", get_args(Severity))
@pytest.mark.parametrize("event", get_args(Transition))
def test_every_event_has_words(locale: Locale, failure_type: str, severity: str, event: str) -> None:
    line = alert_line(alert_event(failure_type=failure_type, severity=severity, event=event), locale, is_open=True)
    assert "machine-001" in line


def test_both_languages_say_the_same_things_with_the_same_places() -> None:
    korean, english = PAGE_TEXTS["ko"], PAGE_TEXTS["en"]
    assert korean.keys() == english.keys()
    for name, text in korean.items():
        for place in ("{age}", "{n}"):
            assert (place in text) == (place in english[name]), name


@pytest.mark.parametrize(
    ("asked", "remembered", "wishes", "chosen"),
    [
        ("en", "ko", "ko", "en"),
        (None, "en", "ko", "en"),
        (None, None, "en-GB,ko;q=0.8", "en"),
        (None, None, "fr, en;q=0.2, ko;q=0.9", "ko"),
        (None, None, "fr,de", "ko"),
        ("xx", "yy", "en;q=nonsense", "ko"),
        (None, None, "", "ko"),
        (None, None, "en;q=0", "ko"),
    ],
)
def test_the_reader_chooses_the_language(
    asked: str | None, remembered: str | None, wishes: str, chosen: Locale
) -> None:
    assert choose_locale(asked, remembered, wishes, "ko") == chosen
