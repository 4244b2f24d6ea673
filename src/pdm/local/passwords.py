"""The generated passwords of a data folder. Owns their names and their one file, readable by its owner only."""

import secrets

from pdm.local.folder import DataFolder

FILE = "passwords.json"
DATABASE_ROLES = ("owner", "ingestor", "inference", "portal", "cdc")
NAMES = (*(f"{database}-{role}" for database in ("main", "ai") for role in DATABASE_ROLES), "valkey")


def load_or_make(folder: DataFolder) -> dict[str, str]:
    """The same at every start: the databases keep what they were made with."""
    known = {name: str(value) for name, value in folder.read_json(FILE).items()}
    passwords = {name: known.get(name) or secrets.token_urlsafe(24) for name in NAMES}
    if passwords != known:
        folder.write_json(FILE, passwords)
    return passwords
