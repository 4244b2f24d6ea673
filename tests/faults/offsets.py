"""Watches the offsets that the groups commit: they may stand still and go on, never back."""

import asyncio
from dataclasses import dataclass, field

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from pdm.config import Settings

EVERY_S = 0.3
GROUPS = ("pdm.ingestor", "pdm.inference", "pdm.portal")


@dataclass
class OffsetWatch:
    settings: Settings
    complaints: list[str] = field(default_factory=list)
    may_go_back: bool = False  # of a fault that deletes topics or offsets
    _newest: dict[tuple[str, TopicPartition], int] = field(default_factory=dict)
    _task: "asyncio.Task[None] | None" = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            admin = AIOKafkaAdminClient(
                bootstrap_servers=self.settings.kafka.bootstrap_servers, request_timeout_ms=5_000
            )
            try:
                await admin.start()
                while True:
                    for group in GROUPS:
                        self._see(group, await admin.list_consumer_group_offsets(group))
                    await asyncio.sleep(EVERY_S)
            except (KafkaError, OSError):
                await asyncio.sleep(EVERY_S)
            finally:
                await admin.close()

    def _see(self, group: str, committed: dict[TopicPartition, object]) -> None:
        for partition, found in committed.items():
            offset = int(found.offset)  # type: ignore[attr-defined]
            before = self._newest.get((group, partition), -1)
            if offset < before and not self.may_go_back:
                where = f"{partition.topic} {partition.partition}"
                self.complaints.append(f"O: {group} committed {offset} after {before} on {where}")
            self._newest[group, partition] = max(offset, before)
