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
_VERBS: Mapping[Locale, Mapping[bool, str]] = {  # by whether the event says that it is over
    "ko": {False: "감지", True: "해소"},
    "en": {False: "detected", True: "cleared"},
}
_OVER_MEANWHILE: Mapping[Locale, str] = {"ko": "(이미 해소됨)", "en": "(cleared meanwhile)"}


def alert_line(event: AlertEvent, locale: Locale, *, is_open: bool) -> str:
    """Such as `!!긴급!! machine-001 과부하 감지`. `is_open`: the episode has not cleared since this event."""
    is_end = event.event == "cleared"
    words = [
        _URGENCY[locale][event.severity],
        event.machine_id,
        _FAILURES[locale][event.failure_type],
        _VERBS[locale][is_end],
    ]
    if not is_open and not is_end:
        words.append(_OVER_MEANWHILE[locale])
    return " ".join(words)
