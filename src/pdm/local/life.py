"""The mark on the command line by which every process of a stack is known. Imports nothing heavy: the guard does."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Life:
    """From one start of a stack to its end, whoever ends it: the guard ends this life, never the next one."""

    folder_id: str
    number: str

    @property
    def mark(self) -> str:
        return f"{folder_mark(self.folder_id)}{self.number}."

    def mark_of(self, name: str) -> str:
        """An argument of that process's command line, which any user can read on Linux and macOS."""
        return f"{self.mark}{name}"


def folder_mark(folder_id: str) -> str:
    """Begins the mark of every life on that folder."""
    return f"pdm.stack={folder_id}."
