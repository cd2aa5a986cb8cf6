#!/usr/bin/env python3
"""equal.py FILE RECORDS FACTOR: what chronikctl partition verify -o json has printed says that all replicas of a topic are equal, that there
are FACTOR of each partition, and that at least so many records were compared on each node."""
import json
import sys

report = json.load(open(sys.argv[1]))
report = report.get("data", report)
records, factor = int(sys.argv[2]), int(sys.argv[3])
have = {}
for p in report["partitions"]:
    replicas = p["replicas"]
    if len(replicas) != factor or len({r["checksum"] for r in replicas}) != 1:
        sys.exit(f"not {factor} equal replicas: {p}")
    for r in replicas:
        if r["verdict"] != "equal" or r["comparedTo"] != p["comparedTo"]:
            sys.exit(f"not equal up to {p['comparedTo']}: {r}")
        have[r["node"]] = have.get(r["node"], 0) + r["comparedTo"] - p["comparedFrom"]
if len(have) < factor or any(n < records for n in have.values()):
    sys.exit(f"records compared on each node: {have}, want {records}")
print(f"records compared on each node: {have}, in {report['batches']} batches")
