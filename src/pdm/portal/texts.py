"""What a person reads, in Korean and English. Owns the words of alert lines; pure."""

from collections.abc import Mapping
from typing import Literal

from pdm.events import AlertEvent, FailureType, Severity

Locale = Literal["ko", "en"]
LOCALES: tuple[Locale, ...] = ("ko", "en")

_URGENCY: Mapping[Locale, Mapping[Severity, str]] = {
    "ko": {"critical": "!!긴급!!", "warning": "!주의!"},
    "en": {"critical": "!!URGENT!!", "warning": "!WARNING!"},
}
_FAILURES: Mapping[Locale, Mapping[FailureType, str]] = {
    "ko": {
        "Overstrain": "과부하",
        "HeatDissipation": "방열 불량",
        "Power": "전력 이상",
        "ToolWear": "공구 마모",
        "Unknown": "미확인 이상",
    },
    "en": {
        "Overstrain": "overstrain",
        "HeatDissipation": "heat dissipation failure",
        "Power": "power failure",
        "ToolWear": "tool wear",
        "Unknown": "unknown anomaly",
    },
}
_DETECTED: Mapping[Locale, str] = {"ko": "감지", "en": "detected"}
_CLEARED: Mapping[Locale, str] = {"ko": "해소", "en": "cleared"}
_CLEARED_MEANWHILE: Mapping[Locale, str] = {"ko": "(이미 해소됨)", "en": "(cleared meanwhile)"}


def alert_line(event: AlertEvent, locale: Locale, *, is_open: bool) -> str:
    """Such as `!!긴급!! machine-001 과부하 감지`. `is_open`: the episode has not cleared since this event."""
    what = f"{event.machine_id} {_FAILURES[locale][event.failure_type]}"
    if event.event == "cleared":
        return f"{what} {_CLEARED[locale]}"
    line = f"{_URGENCY[locale][event.severity]} {what} {_DETECTED[locale]}"
    return line if is_open else f"{line} {_CLEARED_MEANWHILE[locale]}"
