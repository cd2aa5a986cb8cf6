#!/usr/bin/env python3
"""Producing with acks=all through kafka-python, and what became of it.

    records.py produce HOST:PORT,... TOPIC N ACKED     N records over all partitions; each acknowledged one is a line in the file ACKED
    records.py stream HOST:PORT,... TOPIC SECONDS ACKED  one record after the other to each partition, until the time is over, through whatever
                                                       happens; prints the longest time without an acknowledgement of each partition
    records.py check HOST:PORT,... TOPIC ACKED...      reads the topic: each acknowledged record stands at its offset with its value, none twice

Lines of ACKED: partition, offset, value. Exit code 1 with the reason on standard error."""
import collections
import sys
import threading
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

TIMEOUT_S = 60


def fail(text):
    sys.exit("records.py: " + text)


def producer(servers, **more):
    return KafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True, retry_backoff_ms=20, reconnect_backoff_ms=20,
                         reconnect_backoff_max_ms=100, request_timeout_ms=5000, delivery_timeout_ms=TIMEOUT_S * 1000, max_block_ms=TIMEOUT_S * 1000, **more)


def partitions_of(p, topic):
    parts = p.partitions_for(topic)
    if not parts:
        fail(f"{topic} has no partitions")
    return sorted(parts)


def produce(servers, topic, n, path):
    p = producer(servers, linger_ms=2)
    parts = partitions_of(p, topic)
    begin = time.monotonic()
    sent = []
    for i in range(n):
        value = f"{topic} {time.time_ns()} {i} " + "x" * (i % 700)
        sent.append((value, p.send(topic, value.encode(), partition=parts[i % len(parts)])))
    p.flush(TIMEOUT_S)
    with open(path, "a") as out:
        for value, future in sent:
            got = future.get(TIMEOUT_S)
            out.write(f"{got.partition}\t{got.offset}\t{value}\n")
    p.close()
    print(f"{n} records acknowledged in {time.monotonic() - begin:.2f} s")


def stream(servers, topic, seconds, path):
    lines, gaps, failed = [], {}, []
    until = time.monotonic() + seconds

    def one(part):
        p = producer(servers)
        n, last, longest, at = 0, None, 0.0, 0.0
        while time.monotonic() < until:
            value = f"{topic} {part} {time.time_ns()} {n}"
            try:
                got = p.send(topic, value.encode(), partition=part).get(TIMEOUT_S)
            except KafkaError as e:
                failed.append(f"partition {part}: {e!r}")
                break
            now = time.monotonic()
            lines.append(f"{got.partition}\t{got.offset}\t{value}")
            if last is not None and now - last > longest:
                longest, at = now - last, seconds - (until - last)
            last, n = now, n + 1
        gaps[part] = (longest * 1000, at, n)
        p.close(5)

    p = producer(servers)
    parts = partitions_of(p, topic)
    p.close()
    workers = [threading.Thread(target=one, args=(part,)) for part in parts]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    with open(path, "a") as out:
        out.writelines(line + "\n" for line in lines)
    if failed:
        fail(f"{len(failed)} producers gave up, the first with {failed[0]}")
    total = sum(n for _, _, n in gaps.values())
    longest = max(g for g, _, _ in gaps.values())
    each = ", ".join(f"{part}: {gaps[part][0]:.0f} ms from second {gaps[part][1]:.2f} on" for part in parts)
    print(f"acked={total} longest={longest:.0f} ms without an acknowledgement ({each})")


def check(servers, topic, paths):
    want = {}
    for path in paths:
        for line in open(path):
            part, offset, value = line.rstrip("\n").split("\t")
            if want.setdefault((int(part), int(offset)), value) != value:
                fail(f"two records were acknowledged at offset {offset} of partition {part}")
    consumer = KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False, check_crcs=True, request_timeout_ms=10000)
    until = time.monotonic() + TIMEOUT_S
    parts = None
    while not parts and time.monotonic() < until:
        parts = consumer.partitions_for_topic(topic)
    tps = [TopicPartition(topic, p) for p in sorted(parts)]
    consumer.assign(tps)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(tps)
    got, values, next_offset = {}, collections.Counter(), {tp: 0 for tp in tps}
    while any(next_offset[tp] < ends[tp] for tp in tps):
        if time.monotonic() > until:
            fail(f"read up to {next_offset} within {TIMEOUT_S} s, the ends are {ends}")
        for tp, records in consumer.poll(500).items():
            for r in records:
                if r.offset != next_offset[tp]:
                    fail(f"partition {tp.partition}: offset {r.offset} after {next_offset[tp] - 1}")
                next_offset[tp] = r.offset + 1
                got[(tp.partition, r.offset)] = r.value.decode()
                values[r.value] += 1
    consumer.close()
    lost = [k for k, v in want.items() if got.get(k) != v]
    twice = [v for v, n in values.items() if n > 1]
    if lost or twice or not want:
        fail(f"of {len(want)} acknowledged records {len(lost)} are lost or others: {sorted(lost)[:3]}; {len(twice)} are there twice: {twice[:2]}")
    print(f"{len(want)} acknowledged records at their offsets, {len(got)} read, none twice")


def main(args):
    what, servers, topic, rest = args[0], args[1].split(","), args[2], args[3:]
    if what == "produce":
        produce(servers, topic, int(rest[0]), rest[1])
    elif what == "stream":
        stream(servers, topic, float(rest[0]), rest[1])
    elif what == "check":
        check(servers, topic, rest)
    else:
        fail("unknown command " + what)


if __name__ == "__main__":
    main(sys.argv[1:])
