"""The words of the pages, in Korean and English, and the choice between them. Pure."""

from collections.abc import Mapping

from pdm.portal.texts import LOCALES, Locale

_KO = {
    "title": "설비 현황",
    "product": "예지보전",
    "skip": "본문으로 건너뛰기",
    "critical": "긴급",
    "warning": "주의",
    "silent": "무응답",
    "normal": "정상",
    "machines": "설비",
    "machine": "설비",
    "state": "상태",
    "torque": "토크",
    "torque_mean": "1분 평균 토크",
    "power_mean": "1분 평균 동력",
    "delta_mean": "1분 평균 온도차",
    "speed": "회전수",
    "wear": "공구 마모",
    "last_heard": "최근 수신",
    "active_alerts": "진행 중인 경보",
    "recent_alerts": "최근 해소된 경보",
    "no_alerts": "진행 중인 경보가 없습니다",
    "no_alerts_more": "설비에 이상이 감지되면 이유와 함께 여기에 나타납니다.",
    "no_recent": "해소된 경보가 아직 없습니다.",
    "no_machines": "아직 연결된 설비가 없습니다",
    "no_machines_more": "첫 측정값이 도착하는 즉시 여기에 나타납니다. 가상 설비로 시작하려면:",
    "since": "감지",
    "cleared": "해소",
    "lasted": "지속",
    "by_gap": "데이터 끊김으로 종료",
    "rules_only": "규칙 판단",
    "model": "모델",
    "not_received": "포털 수신 대기",
    "Overstrain": "과부하",
    "HeatDissipation": "방열 불량",
    "Power": "전력 이상",
    "ToolWear": "공구 마모",
    "Unknown": "미확인 이상",
    "connecting": "연결 중",
    "live": "실시간",
    "offline": "연결 끊김",
    "offline_more": "실시간 연결이 끊겼습니다. 화면의 값은 {age} 전 것입니다. 다시 연결하는 중입니다…",
    "degraded": "실시간 저장소에 값이 없어 데이터베이스의 마지막 측정값을 보여 줍니다. 1분 평균은 비어 있습니다.",
    "never": "없음",
    "now": "방금",
    "ago": "{age} 전",
    "seconds": "{n}초",
    "minutes": "{n}분",
    "hours": "{n}시간",
    "days": "{n}일",
    "theme": "밝은 화면과 어두운 화면 전환",
    "language": "언어",
    "away": "지금은 현황을 불러올 수 없습니다",
    "away_more": "데이터베이스가 응답하지 않습니다. 이상 감지는 따로 동작하며, 이 화면은 5초마다 다시 시도합니다.",
    "no_script": "실시간 갱신에는 JavaScript가 필요합니다. 지금 보이는 값은 불러온 시점의 것입니다.",
}
_EN = {
    "title": "Fleet",
    "product": "predictive maintenance",
    "skip": "Skip to content",
    "critical": "Critical",
    "warning": "Warning",
    "silent": "Silent",
    "normal": "Normal",
    "machines": "Machines",
    "machine": "Machine",
    "state": "State",
    "torque": "Torque",
    "torque_mean": "Torque, 1 min",
    "power_mean": "Power, 1 min",
    "delta_mean": "ΔT, 1 min",
    "speed": "Speed",
    "wear": "Tool wear",
    "last_heard": "Last heard",
    "active_alerts": "Active alerts",
    "recent_alerts": "Recently cleared",
    "no_alerts": "No active alert",
    "no_alerts_more": "When a machine leaves its normal range, it appears here with the reasons.",
    "no_recent": "No alert has cleared yet.",
    "no_machines": "No machine has reported yet",
    "no_machines_more": "Machines appear here with their first reading. To start with a simulated one:",
    "since": "detected",
    "cleared": "cleared",
    "lasted": "lasted",
    "by_gap": "ended by a gap in the data",
    "rules_only": "by rules",
    "model": "model",
    "not_received": "not yet relayed",
    "Overstrain": "Overstrain",
    "HeatDissipation": "Heat dissipation",
    "Power": "Power",
    "ToolWear": "Tool wear",
    "Unknown": "Unknown anomaly",
    "connecting": "Connecting",
    "live": "Live",
    "offline": "Disconnected",
    "offline_more": "The live connection is lost. Values on this page are {age} old. Reconnecting…",
    "degraded": "The real-time store holds no values: these are the last readings in the database, without means.",
    "never": "never",
    "now": "now",
    "ago": "{age} ago",
    "seconds": "{n} s",
    "minutes": "{n} min",
    "hours": "{n} h",
    "days": "{n} d",
    "theme": "Switch between light and dark",
    "language": "Language",
    "away": "The fleet cannot be shown right now",
    "away_more": "The database does not answer. Detection works without this page, which tries again every 5 s.",
    "no_script": "Live updates need JavaScript. The values shown are those of the moment the page was loaded.",
}
PAGE_TEXTS: Mapping[Locale, Mapping[str, str]] = {"ko": _KO, "en": _EN}


def choose_locale(asked: str | None, remembered: str | None, accept_language: str, default: Locale) -> Locale:
    """The first of these that names a language of ours: the address, the cookie, the browser's wishes, the setting."""
    for wish in (asked, remembered, *_by_preference(accept_language)):
        for locale in LOCALES:
            if wish == locale:
                return locale
    return default


def _by_preference(accept_language: str) -> list[str]:
    """`en-GB,ko;q=0.8` gives en, ko. A weight that is no number counts as none."""
    wishes = []
    for item in accept_language.split(","):
        tag, _, weight = item.strip().partition(";q=")
        wishes.append((_weight(weight), tag.partition("-")[0].lower()))
    return [tag for weight, tag in sorted(wishes, key=lambda wish: -wish[0]) if weight > 0]


def _weight(text: str) -> float:
    try:
        return float(text or 1)
    except ValueError:
        return 0.0
