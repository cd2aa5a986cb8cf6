#!/usr/bin/env python3
"""What the tests of this folder ask of a cluster, through kafka-python where a client's view counts, and in Kafka's own bytes where it
must be one node's own view: a client library would ask whichever broker it likes, and shows no topic ids.

    ask.py auto HOST:PORT PREFIX N FACTOR      produce one record to each of N topics that do not exist; prints milliseconds
    ask.py made HOST:PORT PREFIX N FACTOR      let Metadata create N topics, one after the other; prints milliseconds
    ask.py crowd HOST:PORT PREFIX N              as auto, eight producers side by side
    ask.py many HOST:PORT PREFIX N               create N topics, one request each, again until it is acknowledged
    ask.py create|delete HOST:PORT TOPIC...    through the admin client; retries until it is done or 30 s have passed
    ask.py configure HOST:PORT TOPIC KEY=VALUE
    ask.py read HOST:PORT PREFIX N             read back what auto has written
    ask.py load HOST:PORT,... PREFIX SECONDS   create and delete topics without pause; prints "+name" or "-name" for each acknowledged one,
                                                 and "?name" before a deletion
    ask.py same HOST:PORT... [--has FILE] [--factor N] [--leaders] [--count N]
        each port's own Metadata answer: equal names, ids, partitions, replicas and leaders within 10 s. --has: the lines that load has
        printed; --leaders: every partition has a leader that is alive; --count: so many topics.

Exit code 1 with the reason on standard error."""
import os
import random
import socket
import statistics
import struct
import sys
import threading
import time
import uuid

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

TIMEOUT_S = 30


def fail(text):
    sys.exit("ask.py: " + text)


# --- one node's own answer -------------------------------------------------------------------------------------------------------------

def uvarint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


class Reader:
    """Reads the flexible encoding of Kafka's messages."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if self.at + n > len(self.data):
            fail("short answer")
        self.at += n
        return self.data[self.at - n:self.at]

    def int(self, size):
        return int.from_bytes(self.take(size), "big", signed=True)

    def uvarint(self):
        n = shift = 0
        while True:
            b = self.take(1)[0]
            n |= (b & 127) << shift
            if b < 128:
                return n
            shift += 7

    def string(self):
        n = self.uvarint() - 1
        return None if n < 0 else self.take(n).decode()

    def list(self, item):
        return [item() for _ in range(self.uvarint() - 1)]

    def tags(self):
        for _ in range(self.uvarint()):
            self.uvarint()
            self.take(self.uvarint())


def metadata(port, create=None, sock=None):
    """Metadata v12 from exactly this port: (alive brokers, {topic: (error, id, {partition: (leader, replicas, isr)})})."""
    if create is None:
        topics = b"\x00"  # all
    else:
        topics = uvarint(2) + bytes(16) + uvarint(len(create) + 1) + create.encode() + b"\x00"
    body = struct.pack(">hhi", 3, 12, 7) + struct.pack(">h", 9) + b"chronik/t" + b"\x00" + topics + (b"\x01" if create else b"\x00") + b"\x00\x00"
    own = sock is None
    if own:
        host, p = port.rsplit(":", 1)
        sock = socket.create_connection((host, int(p)), timeout=10)
    try:
        sock.sendall(struct.pack(">i", len(body)) + body)
        data = b""
        while len(data) < 4 or len(data) < 4 + struct.unpack(">i", data[:4])[0]:
            more = sock.recv(1 << 20)
            if not more:
                raise OSError(port + " hung up")
            data += more
    finally:
        if own:
            sock.close()
    r = Reader(data[8:])
    r.tags()
    r.int(4)

    def broker():
        node = r.int(4)
        r.string(), r.int(4), r.string(), r.tags()
        return node

    def partition():
        r.int(2)
        index, leader = r.int(4), r.int(4)
        r.int(4)
        replicas, isr = r.list(lambda: r.int(4)), r.list(lambda: r.int(4))
        r.list(lambda: r.int(4)), r.tags()
        return index, (leader, replicas, isr)

    def topic():
        error, name, tid = r.int(2), r.string(), uuid.UUID(bytes=r.take(16))
        r.int(1)
        parts = dict(r.list(partition))
        r.int(4), r.tags()
        return name, (error, str(tid), parts)

    alive = r.list(broker)
    r.string(), r.int(4)
    return alive, {n: t for n, t in r.list(topic) if not n.startswith("__")}


def faults(port, alive, topics, factor, leaders):
    for name, (error, _, parts) in topics.items():
        if error or not parts:
            return f"{port}: topic {name}: error {error}, {len(parts)} partitions"
        for i, (leader, replicas, _) in parts.items():
            if factor and len(replicas) != factor:
                return f"{port}: {name}-{i} has replicas {replicas}, not {factor}"
            if leaders and leader not in alive:
                return f"{port}: {name}-{i} has leader {leader}, alive are {alive}"
    return None


def same(ports, has, factor, leaders, count):
    must, gone = set(), set()
    for line in open(has) if has else ():
        name = line.strip()[1:]
        must.discard(name)  # "?": a deletion has begun, its outcome is not known yet
        if line[0] == "+":
            must.add(name)
        elif line[0] == "-":
            gone.add(name)
    until = time.monotonic() + 10
    while True:
        why = None
        try:
            views = [metadata(p) for p in ports]
        except OSError as e:
            why, views = str(e), []
        for p, (alive, topics) in zip(ports, views):
            why = why or faults(p, alive, topics, factor, leaders)
            missing, back = sorted(must - topics.keys()), sorted(gone & topics.keys())
            if missing:
                why = why or f"{p}: {len(missing)} of {len(must)} acknowledged topics are missing: {missing[:5]}"
            if back:
                why = why or f"{p}: {len(back)} of {len(gone)} deleted topics are there: {back[:5]}"
            if count is not None and len(topics) != count:
                why = why or f"{p}: {len(topics)} topics, not {count}"
            for name in sorted(topics.keys() | views[0][1].keys()):
                if topics.get(name) != views[0][1].get(name) and not why:
                    why = f"{ports[0]} and {p} differ in {name}: {views[0][1].get(name)} and {topics.get(name)}"
        if not why:
            print(f"{len(views[0][1])} topics equal on {len(ports)} nodes")
            return
        if time.monotonic() > until:
            fail(why)
        time.sleep(0.1)


# --- as a client -----------------------------------------------------------------------------------------------------------------------

def times(what, ms):
    ms.sort()
    print(f"{what}: n={len(ms)} p50={statistics.median(ms):.2f} p99={ms[min(len(ms) - 1, len(ms) * 99 // 100)]:.2f} max={ms[-1]:.2f} ms")


def auto(port, prefix, n, factor):
    producer = KafkaProducer(bootstrap_servers=[port], acks="all", request_timeout_ms=TIMEOUT_S * 1000, max_block_ms=TIMEOUT_S * 1000)
    taken = []
    for i in range(n):
        time.sleep(0.12)  # kafka-python asks for metadata once in 100 ms, and would wait for that
        begin = time.monotonic()
        got = producer.send(f"{prefix}{i}", f"value of {prefix}{i}".encode()).get(TIMEOUT_S)
        taken.append((time.monotonic() - begin) * 1000)
        if got.offset != 0:
            fail(f"first record of {prefix}{i} at offset {got.offset}")
    producer.close()
    times("topic that does not exist to ack", taken)
    check_made(port, prefix, n, factor)


def crowd(port, prefix, n, factor):
    begin, failed = time.monotonic(), []

    def produce(names):
        try:
            producer = KafkaProducer(bootstrap_servers=[port], acks="all", request_timeout_ms=TIMEOUT_S * 1000, max_block_ms=TIMEOUT_S * 1000,
                                     retry_backoff_ms=5)
            for name in names:
                producer.send(name, f"value of {name}".encode()).get(TIMEOUT_S)
            producer.close()
        except Exception as e:  # whatever it is, the topic is not there
            failed.append(repr(e))

    workers = [threading.Thread(target=produce, args=([f"{prefix}{i}" for i in range(w, n, 8)],)) for w in range(8)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    if failed:
        fail(f"{len(failed)} producers failed, the first with {failed[0]}")
    print(f"{n} topics and records in {time.monotonic() - begin:.2f} s")
    check_made(port, prefix, n, factor)


def many(port, prefix, n, factor):
    begin, worst = time.monotonic(), 0
    for i in range(n):
        t = time.monotonic()
        create(port, [f"{prefix}{i}"], factor, 1)
        worst = max(worst, time.monotonic() - t)
    print(f"{n} topics in {time.monotonic() - begin:.2f} s, longest {worst * 1000:.0f} ms")


def made(port, prefix, n, factor):
    host, p = port.rsplit(":", 1)
    sock = socket.create_connection((host, int(p)), timeout=TIMEOUT_S)
    metadata(port, sock=sock)
    taken = []
    for i in range(n):
        begin = time.monotonic()
        alive, topics = metadata(port, create=f"{prefix}{i}", sock=sock)
        taken.append((time.monotonic() - begin) * 1000)
        why = faults(port, alive, topics, factor, True)
        if why or f"{prefix}{i}" not in topics:
            fail(why or f"{prefix}{i} is not in the answer")
    times("creation", taken)


def check_made(port, prefix, n, factor):
    topics = metadata(port)[1]
    for i in range(n):
        _, _, parts = topics.get(f"{prefix}{i}", (0, "", {}))
        if any(len(replicas) != factor for _, replicas, _ in parts.values()) or not parts:
            fail(f"{prefix}{i}: partitions {parts}, want {factor} replicas each")


admins = {}  # by bootstrap addresses


def admin_do(port, what):
    """Repeats an admin request until it is done: while a controller is elected an answer may be missing."""
    until, last = time.monotonic() + TIMEOUT_S, None
    while time.monotonic() < until:
        try:
            if port not in admins:
                admins[port] = KafkaAdminClient(bootstrap_servers=port.split(","), request_timeout_ms=5000)
            return what(admins[port])
        except (KafkaError, OSError) as e:
            last = e
            admins.pop(port, None)
            time.sleep(0.05)
    fail(f"not done within {TIMEOUT_S} s: {last!r}")


def create(port, names, factor, partitions=3):
    def do(admin):
        try:
            admin.create_topics([NewTopic(n, partitions, factor) for n in names], timeout_ms=5000)
        except TopicAlreadyExistsError:
            for n in names:  # one at a time: some are there from an attempt without an answer
                try:
                    admin.create_topics([NewTopic(n, partitions, factor)], timeout_ms=5000)
                except TopicAlreadyExistsError:
                    pass
    admin_do(port, do)


def delete(port, names):
    def do(admin):
        for n in names:
            try:
                admin.delete_topics([n], timeout_ms=5000)
            except UnknownTopicOrPartitionError:
                pass  # from an attempt without an answer
    admin_do(port, do)


def configure(port, name, setting):
    key, value = setting.split("=")
    resource = ConfigResource(ConfigResourceType.TOPIC, name, configs={key: value})
    admin_do(port, lambda admin: admin.alter_configs([resource]))


def read(port, prefix, n):
    consumer = KafkaConsumer(bootstrap_servers=[port], auto_offset_reset="earliest", enable_auto_commit=False)
    parts = [TopicPartition(f"{prefix}{i}", p) for i in range(n) for p in consumer.partitions_for_topic(f"{prefix}{i}") or ()]
    consumer.assign(parts)
    consumer.seek_to_beginning()
    got, until = [], time.monotonic() + TIMEOUT_S
    while len(got) < n and time.monotonic() < until:
        for records in consumer.poll(500).values():
            got += [r.value.decode() for r in records]
    consumer.close()
    if sorted(got) != sorted(f"value of {prefix}{i}" for i in range(n)):
        fail(f"{len(got)} of {n} records read, or others: {sorted(got)[:3]}")


def load(ports, prefix, seconds, factor):
    """What had no answer is not printed as done: it may or may not be, and its name is not used again."""
    until, n, there = time.monotonic() + seconds, 0, []
    rng = random.Random(prefix)
    while time.monotonic() < until:
        admin = None
        try:
            admin = KafkaAdminClient(bootstrap_servers=[rng.choice(ports)], request_timeout_ms=3000)
            while time.monotonic() < until:
                if len(there) > 20 and rng.random() < 0.5:
                    name = there.pop(rng.randrange(len(there)))
                    print("?" + name, flush=True)
                    admin.delete_topics([name], timeout_ms=3000)
                    print("-" + name, flush=True)
                else:
                    name, n = f"{prefix}{n}", n + 1
                    admin.create_topics([NewTopic(name, 1, factor)], timeout_ms=3000)
                    print("+" + name, flush=True)
                    there.append(name)
        except (KafkaError, OSError):
            time.sleep(0.05)
        finally:
            if admin:
                try:
                    admin.close()
                except (KafkaError, OSError):
                    pass


def main(args):
    factor = int(os.environ.get("FACTOR", "3"))
    what, rest = args[0], args[1:]
    if what == "auto":
        auto(rest[0], rest[1], int(rest[2]), factor)
    elif what in ("crowd", "many"):
        globals()[what](rest[0], rest[1], int(rest[2]), factor)
    elif what == "made":
        made(rest[0], rest[1], int(rest[2]), factor)
    elif what == "create":
        create(rest[0], rest[1:], factor)
    elif what == "delete":
        delete(rest[0], rest[1:])
    elif what == "configure":
        configure(*rest)
    elif what == "read":
        read(rest[0], rest[1], int(rest[2]))
    elif what == "load":
        load(rest[0].split(","), rest[1], float(rest[2]), factor)
    elif what == "same":
        option = lambda name: rest[rest.index(name) + 1] if name in rest else None
        ports = [r for r in rest if ":" in r]
        same(ports, option("--has"), factor if "--factor" in rest else 0, "--leaders" in rest, int(option("--count")) if option("--count") else None)
    else:
        fail("unknown command " + what)


if __name__ == "__main__":
    main(sys.argv[1:])
