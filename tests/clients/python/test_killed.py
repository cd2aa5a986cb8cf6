"""kafka-python on three nodes that are killed one after the other (kills.sh). CHRONIK_BOOTSTRAP is their addresses; run.sh sets it.

A producer waits for the acknowledgement of each few records, a member of a group reads and commits. What was acknowledged is there once,
in the order of its key; the group reads all of it and begins where it committed.
"""

import os
import subprocess
import threading
import time
import unittest
import uuid
from collections import Counter

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError

SERVER = os.environ["CHRONIK_BOOTSTRAP"].split(",")
PATIENCE = 60  # seconds, for what takes one on a machine that has nothing else to do
KEYS = 12


class Writer:
    """Sends numbers, a few at a time. Those whose first attempt ended in an error may be there twice."""

    def __init__(self, topic):
        self.topic, self.next, self.again, self.error = topic, 0, set(), None
        self.producer = KafkaProducer(bootstrap_servers=SERVER, enable_idempotence=True, acks="all")

    def batch(self):
        numbers = range(self.next, self.next + KEYS)
        end = time.time() + PATIENCE
        left = list(numbers)
        while left:
            sent = [(n, self.producer.send(self.topic, key=b"%d" % (n % KEYS), value=b"%d" % n)) for n in left]
            left = []
            for n, future in sent:
                try:
                    future.get(timeout=PATIENCE)
                except KafkaError as e:
                    print(f"# record {n}: {e!r}", flush=True)
                    self.again.add(n)
                    left.append(n)
            if left and time.time() > end:
                raise AssertionError(f"record {left[0]} was not acknowledged in {PATIENCE} s")
        self.next += KEYS

    def run(self, stop):
        try:
            while not stop.is_set():
                self.batch()
                time.sleep(0.005)
        except Exception as e:  # the main thread raises it
            self.error = e


class Member:
    """Reads and commits. A thread may run it; the others only look at what it has seen."""

    def __init__(self, topic, group):
        self.seen, self.refused, self.error = Counter(), 0, None
        self.consumer = KafkaConsumer(topic, bootstrap_servers=SERVER, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False)

    def read(self, done):
        """Until done() says so."""
        end = None
        while not done():
            for records in self.consumer.poll(timeout_ms=200).values():
                self.seen.update(int(r.value) for r in records)
                end = None
            end = end or time.time() + PATIENCE
            if time.time() > end:
                raise AssertionError(f"nothing to read for {PATIENCE} s; {len(self.seen)} records so far")
            try:
                self.consumer.commit()
            except KafkaError as e:
                self.refused += 1
                print(f"# commit: {e!r}", flush=True)

    def run(self, done):
        try:
            self.read(done)
        except Exception as e:
            self.error = e


class NodesKilled(unittest.TestCase):
    def test_nodes_killed(self):
        topic = f"py-killed-{uuid.uuid4().hex[:8]}"
        group = topic + "-group"
        admin = KafkaAdminClient(bootstrap_servers=SERVER)
        admin.create_topics([NewTopic(topic, 6, 3)])
        admin.close()
        writer, member = Writer(topic), Member(topic, group)
        writer.batch()
        member.read(lambda: len(member.seen) >= writer.next)  # there are a group and its coordinator now
        stop = threading.Event()
        write = threading.Thread(target=writer.run, args=(stop,))
        read = threading.Thread(target=member.run, args=(lambda: stop.is_set() and not write.is_alive() and len(member.seen) >= writer.next,))
        write.start()
        read.start()
        try:
            subprocess.run([os.path.join(os.path.dirname(__file__), "..", "kills.sh"), topic, group], check=True)
        finally:
            stop.set()
            write.join()
            read.join()
        for error in (writer.error, member.error):
            if error:
                raise error
        print(f"# {writer.next} records, {len(writer.again)} not acknowledged at first, {member.refused} commits refused", flush=True)
        self.assertEqual(sorted(member.seen), list(range(writer.next)))
        self.log(topic, writer)
        self.resume(topic, group, writer, member)

    def log(self, topic, writer):
        """The whole topic: each number once, in the order of its key."""
        consumer = KafkaConsumer(bootstrap_servers=SERVER, auto_offset_reset="earliest")
        partitions = [TopicPartition(topic, p) for p in range(6)]
        consumer.assign(partitions)
        left = sum(consumer.end_offsets(partitions).values())
        found, last = Counter(), {}
        limit = time.time() + PATIENCE
        while left > 0:
            self.assertLess(time.time(), limit, "the topic cannot be read to its end")
            for records in consumer.poll(timeout_ms=500).values():
                left -= len(records)
                for r in records:
                    n = int(r.value)
                    found[n] += 1
                    if n not in writer.again:
                        self.assertGreater(n, last.get(r.key, -1), "order of a key")
                        last[r.key] = n
        consumer.close()
        self.assertEqual(sorted(found), list(range(writer.next)))
        self.assertEqual([n for n, times in found.items() if times > 1 and n not in writer.again], [])

    def resume(self, topic, group, writer, member):
        """A new member begins where the last one committed."""
        limit = time.time() + PATIENCE
        partitions = [TopicPartition(topic, p) for p in range(6)]
        while True:
            member.consumer.poll(timeout_ms=200)
            try:
                member.consumer.commit()
                ends = member.consumer.end_offsets(partitions)
                if all(ends[p] == (member.consumer.committed(p) or 0) for p in partitions):
                    break
            except KafkaError as e:
                print(f"# commit: {e!r}", flush=True)
            self.assertLess(time.time(), limit, "the ends are not committed")
        member.consumer.close()
        first = writer.next
        writer.batch()
        later = Member(topic, group)
        later.read(lambda: len(later.seen) >= KEYS)
        later.consumer.close()
        self.assertEqual(sorted(later.seen), list(range(first, writer.next)))
        writer.producer.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
