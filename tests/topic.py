"""A Kafka topic of one's own that a test fills, cuts, deletes and makes anew."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete


@dataclass(frozen=True)
class OwnTopic:
    bootstrap_servers: str
    name: str
    partitions: int = 1

    async def make(self) -> None:
        configs = {"message.timestamp.type": "LogAppendTime"}
        async with self._admin() as admin:
            await admin.create_topics([NewTopic(self.name, self.partitions, 1, topic_configs=configs)])

    async def recreate(self) -> None:
        async with self._admin() as admin:
            await admin.delete_topics([self.name])
        await self.make()

    async def delete_before(self, offset: int, partition: int = 0) -> None:
        """As retention does, at once."""
        async with self._admin() as admin:
            await admin.delete_records({TopicPartition(self.name, partition): RecordsToDelete(offset)})

    async def send(self, *values: bytes, key: bytes | None = None, partition: int = 0) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap_servers, acks="all") as producer:
            for value in values:
                await producer.send(self.name, value, key=key, partition=partition)

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()
