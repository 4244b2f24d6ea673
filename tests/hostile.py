"""Texts that mean something to whoever takes them for more than a text. None is a machine id or a channel name."""

MARK = "zq7"  # stands in each, so that it can be found again wherever it came out

HOSTILE = {
    "sql": f"{MARK}'; DROP TABLE sensor_log; --",
    "sql comment": f'{MARK}"/**/OR/**/1=1',
    "redis command": f"{MARK}\r\nFLUSHALL\r\n",
    "redis glob": f"{MARK}*?[a-z]",
    "redis hash tag": f"{{{MARK}}}",
    "redis key": f"{MARK}:last_seen",
    "path": f"../../../../etc/{MARK}",
    "windows path": f"..\\..\\{MARK}",
    "url": f"{MARK}?profile=power#x",
    "encoded path": f"%2e%2e%2f{MARK}",
    "log line": f"{MARK}\n2026-01-01T00:00:00Z [error    ] forged.line",
    "log line, unicode": f"{MARK}\u2028forged\u0085line",
    "terminal": f"{MARK}\x1b[2J\x1b]0;title\x07",
    "backspace": f"{MARK}\b\b\b\r",
    "csv formula": f"=HYPERLINK({MARK})",
    "html": f"<script>alert('{MARK}')</script>",
    "attribute": f'{MARK}" onmouseover="alert(1)',
    "template": f"{{{{ {MARK}.__class__ }}}}",
    "format": f"%s%n{MARK}{{0}}",
    "shell": f"$(touch /tmp/{MARK})`id`",
    "rich markup": f"[bold red]{MARK}[/]",
    "cyrillic": f"mаchine-{MARK}",
    "full width": f"ｍachine-{MARK}",
    "right to left": f"{MARK}\u202egnp.exe",
    "combining": f"{MARK}\u0301\u0489",
    "korean": f"설비-{MARK}",
    "emoji": f"🤖{MARK}",
    "nul": f"{MARK}\0x",
    "only spaces": "   ",
    "empty": "",
    "dots": "..",
    "option": f"--{MARK}",
    "long": MARK + "x" * 10_000,
}
"""By what they attack. `encoded path` is one more time encoded on the way, as every other."""

STORABLE = {name: text for name, text in HOSTILE.items() if "\0" not in text}
LOG_LINE = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S* "  # how each line of a log begins
