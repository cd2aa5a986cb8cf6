#!/usr/bin/env python3
"""Runs the same chronik-bench work against several clusters in turn, A B A B ..., and prints medians and ratios.

    scripts/side-by-side.py [--rounds 3] [--seconds 5] [--only REGEXP] NAME=HOST:PORT NAME=HOST:PORT ...

The first cluster is the one that is compared with the others. Warm a JVM for 20 s before (--warm 20). The machine is shared by the client
and all clusters, so only ratios within one run mean something; clusters that are idle cost nothing.
"""
import argparse, json, re, statistics, subprocess, sys, time

WORK = [  # name, figure (sum: the p50 of each operation, added), arguments
    ("128 synchronous, keyed, 1 client", "rate", "--concurrency 128 --keyed"),
    ("128 synchronous, unkeyed, 1 client", "rate", "--concurrency 128"),
    ("128 synchronous, 3 partitions", "rate", "--concurrency 128 --partitions 3"),
    ("128 clients", "rate", "--concurrency 128 --clients 128 --keyed"),
    ("1 synchronous", "p50", "--concurrency 1"),
    ("async 1 KiB", "rate", "--async"),
    ("async 100 B", "rate", "--async --message-size 100"),
    ("consume from memory", "rate", "--mode consume --messages 1000000"),
    ("end to end at 5,000/s", "p99", "--mode e2e --rate 5000"),
    ("create topic, one by one", "p50", "--mode metadata --ops create --concurrency 1 --partitions 3"),
    ("create topic and see its leaders on every broker, one by one", "sum", "--mode metadata --ops create,visible --concurrency 1 --partitions 3"),
    ("create topic, 64-way", "rate", "--mode metadata --ops create --concurrency 64 --partitions 3"),
    ("alter config, 64-way", "rate", "--mode metadata --ops alter --concurrency 64 --partitions 3"),
]


def bench(a, address, arguments, seconds, warmup):
    if a.replication_factor:
        arguments += f" --replication-factor {a.replication_factor}"
    cmd = [f"{a.bin}/chronik-bench", "-b", address, "--duration", f"{seconds}s", "--warmup", f"{warmup}s", "-o", "json", "-q", "--timeout", "60s"] + arguments.split()
    out = subprocess.run(cmd, capture_output=True, text=True)
    if not out.stdout:
        sys.exit(f"{' '.join(cmd)}: exit {out.returncode}: {out.stderr.strip()}")
    d = json.loads(out.stdout)
    bad = {k: d["integrity"][k] for k in ("lost", "duplicated", "reordered", "corrupt") if d["integrity"][k]}
    if bad:
        sys.exit(f"{address}: {arguments}: {bad}")
    latency = d.get("latency") or {}
    return {"sum": sum(o["latency"]["p50Ms"] for o in d.get("operations") or [] if o["latency"]), "rate": d["result"]["recordsPerSecond"], "p50": latency.get("p50Ms", 0), "p99": latency.get("p99Ms", 0), "failed": d["result"]["failed"]}


def show(figure, value):
    return f"{value:,.0f}/s" if figure == "rate" else f"{value:.2f} ms"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=5)
    p.add_argument("--warmup", type=float, default=2)
    p.add_argument("--warm", type=float, default=0, help="seconds of produce and topic creation against each cluster before the first round")
    p.add_argument("--only", default="")
    p.add_argument("--bin", default="bin", help="where chronik-bench lies")
    p.add_argument("--replication-factor", type=int, default=0, help="of every topic; without it each cluster takes its own default")
    p.add_argument("clusters", nargs="+", metavar="NAME=HOST:PORT")
    a = p.parse_args()
    clusters = [c.split("=", 1) for c in a.clusters]
    if a.warm:
        for _, address in clusters:
            bench(a, address, "--concurrency 128 --keyed", a.warm / 2, 0.5)
            bench(a, address, "--mode e2e --rate 5000", a.warm / 4, 0.5)
            bench(a, address, "--mode metadata --ops create --concurrency 4", a.warm / 4, 0.5)
    print("| work | " + " | ".join(n for n, _ in clusters) + " | " + " | ".join(f"{clusters[0][0]} / {n}" for n, _ in clusters[1:]) + " |")
    print("|---|" + "---|" * (2 * len(clusters) - 1))
    for name, figure, arguments in WORK:
        if not re.search(a.only, name):
            continue
        runs = {n: [] for n, _ in clusters}
        for _ in range(a.rounds):
            for n, address in clusters:
                runs[n].append(bench(a, address, arguments, a.seconds, a.warmup))
                time.sleep(0.5)
        mid = {n: {k: statistics.median(r[k] for r in rs) for k in rs[0]} for n, rs in runs.items()}
        row = []
        for n, _ in clusters:
            m = mid[n]
            text = f"{show(figure, m[figure])}" + (f" (p50 {m['p50']:.2f}, p99 {m['p99']:.1f} ms)" if figure == "rate" and "async" not in name and "consume" not in name else "")
            row.append(text + (f" {m['failed']:.0f} FAILED" if m["failed"] else ""))
        ratios = [f"{mid[clusters[0][0]][figure] / mid[n][figure]:.2f}" if mid[n][figure] else "nothing done" for n, _ in clusters[1:]]
        print(f"| {name} | " + " | ".join(row + ratios) + " |", flush=True)


if __name__ == "__main__":
    main()
