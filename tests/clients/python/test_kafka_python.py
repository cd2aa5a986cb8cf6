"""kafka-python against a server, with its defaults. CHRONIK_BOOTSTRAP is the addresses of its nodes; run.sh sets it."""

import os
import time
import unittest
import uuid

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError, MessageSizeTooLargeError, TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata

SERVER = os.environ["CHRONIK_BOOTSTRAP"].split(",")
REPLICAS = len(SERVER)


def new_name(what):
    return f"py-{what}-{uuid.uuid4().hex[:8]}"


def send(topic, values, **config):
    producer = KafkaProducer(bootstrap_servers=SERVER, **config)
    try:
        sent = [producer.send(topic, key=str(i).encode(), value=v, headers=[("h", b"%d" % i)]) for i, v in enumerate(values)]
        return [f.get(timeout=30) for f in sent]
    finally:
        producer.close()


def read(topic, count, group=None, **config):
    """The values of the first `count` records that come."""
    consumer = KafkaConsumer(topic, bootstrap_servers=SERVER, group_id=group, auto_offset_reset="earliest", **config)
    try:
        got = []
        end = time.time() + 60
        while len(got) < count and time.time() < end:
            for records in consumer.poll(timeout_ms=500).values():
                got += [r.value for r in records]
        if group:
            consumer.commit()
        return got
    finally:
        consumer.close()


class KafkaPython(unittest.TestCase):
    def test_topic_that_nobody_created(self):
        topic = new_name("auto")
        values = [b"value %d" % i for i in range(100)]
        metadata = send(topic, values)
        self.assertEqual([m.offset for m in metadata], list(range(100)))
        self.assertEqual(read(topic, 100), values)

    def test_codecs(self):
        for codec in (None, "gzip", "snappy", "lz4", "zstd"):
            with self.subTest(codec=codec):
                topic = new_name("codec")
                values = [b"value %d " % i + b"x" * 300 for i in range(300)]
                send(topic, values, compression_type=codec, linger_ms=5)
                self.assertEqual(read(topic, 300), values)

    def test_idempotent_producer(self):
        topic = new_name("idempotent")
        values = [b"value %d" % i for i in range(1000)]
        send(topic, values, enable_idempotence=True, acks="all")
        self.assertEqual(read(topic, 1000), values)

    def test_large_messages(self):
        topic = new_name("large")
        values = [bytes([65 + i]) * 900_000 for i in range(5)]
        send(topic, values, max_request_size=4 << 20)
        self.assertEqual(read(topic, 5), values)
        with self.assertRaises(MessageSizeTooLargeError):
            send(topic, [b"x" * (2 << 20)], max_request_size=4 << 20)

    def test_group_resumes_at_its_commit(self):
        topic, group = new_name("group"), new_name("g")
        values = [b"value %d" % i for i in range(200)]
        send(topic, values[:100])
        self.assertEqual(read(topic, 100, group), values[:100])
        send(topic, values[100:])
        self.assertEqual(read(topic, 100, group), values[100:])

    def test_group_rebalances(self):
        topic, group = new_name("rebalance"), new_name("g")
        admin = KafkaAdminClient(bootstrap_servers=SERVER)
        admin.create_topics([NewTopic(topic, 4, REPLICAS)])
        members = [KafkaConsumer(topic, bootstrap_servers=SERVER, group_id=group) for _ in range(2)]

        def settle(consumers, want):
            end = time.time() + 40
            while time.time() < end:
                for c in consumers:
                    c.poll(timeout_ms=100)
                got = sorted(len(c.assignment()) for c in consumers)
                if got == want:
                    return
            self.fail(f"members have {got} partitions, want {want}")

        settle(members[:1], [4])
        settle(members, [2, 2])
        members[0].close()
        settle(members[1:], [4])
        members[1].close()
        admin.close()

    def test_offsets_and_times(self):
        topic = new_name("times")
        partition = TopicPartition(topic, 0)
        producer = KafkaProducer(bootstrap_servers=SERVER)
        for i in range(10):
            producer.send(topic, b"%d" % i, timestamp_ms=1_700_000_000_000 + i * 1000)
        producer.flush()
        producer.close()
        consumer = KafkaConsumer(bootstrap_servers=SERVER, group_id=new_name("g"))
        consumer.assign([partition])
        self.assertEqual(consumer.beginning_offsets([partition])[partition], 0)
        self.assertEqual(consumer.end_offsets([partition])[partition], 10)
        found = consumer.offsets_for_times({partition: 1_700_000_004_500})[partition]
        self.assertEqual((found.offset, found.timestamp), (5, 1_700_000_005_000))
        consumer.commit({partition: OffsetAndMetadata(7, "seven", -1)})
        self.assertEqual(consumer.committed(partition), 7)
        consumer.seek(partition, 8)
        self.assertEqual(next(consumer).value, b"8")
        consumer.close()

    def test_admin(self):
        topic = new_name("admin")
        admin = KafkaAdminClient(bootstrap_servers=SERVER)
        admin.create_topics([NewTopic(topic, 3, REPLICAS, topic_configs={"retention.ms": "3600000"})])
        with self.assertRaises(TopicAlreadyExistsError):
            admin.create_topics([NewTopic(topic, 3, REPLICAS)])
        self.assertIn(topic, admin.list_topics())
        self.assertEqual(len(admin.describe_topics([topic])[0]["partitions"]), 3)
        admin.delete_topics([topic])
        self.assertNotIn(topic, admin.list_topics())
        admin.close()

    def test_a_thousand_requests_in_flight(self):
        topic = new_name("flood")
        producer = KafkaProducer(bootstrap_servers=SERVER, linger_ms=0, max_in_flight_requests_per_connection=50)
        sent = [producer.send(topic, b"%d" % i) for i in range(5000)]
        producer.flush()
        self.assertEqual([f.get(timeout=30).offset for f in sent], list(range(5000)))
        producer.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
