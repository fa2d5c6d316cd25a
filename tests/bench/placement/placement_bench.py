#!/usr/bin/env python3
"""Measures a Placement service: loads a fleet into any base URL over REST (again: nothing changes), then measures each
candidates query and claims. Works against berth-placement and against OpenStack's own (real_placement.sh).

    placement_bench.py --url http://127.0.0.1:8778 --pid 1234 --hosts 1000
    placement_bench.py --url http://127.0.0.1:8779 --pid "$(cat PIDFILE)" --hosts 1000 --json real.json
    placement_bench.py --compare ours.json real.json

Prints a table; --json writes everything. `server` is CPU time of the process with --pid and its children, per request.
Only the standard library is needed."""
import argparse
import json
import multiprocessing
import os
import platform
import random
import statistics
import sys
import time
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fleet  # noqa: E402
from load import Loader  # noqa: E402
from raw_http import Connection  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def process_tree(pid):
    """The process and all its descendants."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="latin-1") as file:
                    parents[int(name)] = int(file.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                pass
    tree = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in tree} - tree
        if not more:
            return tree
        tree |= more


def cpu_seconds(pid):
    """CPU time of the process tree; nanoseconds where the kernel tells them."""
    if pid is None:
        return None
    total = 0.0
    for process in process_tree(pid):
        try:
            seconds = 0.0
            for thread in os.listdir(f"/proc/{process}/task"):
                with open(f"/proc/{process}/task/{thread}/schedstat", encoding="ascii") as file:
                    seconds += int(file.read().split()[0]) / 1e9
            with open(f"/proc/{process}/stat", encoding="latin-1") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            # Threads that have ended are counted in ticks only.
            total += max(seconds, (int(fields[11]) + int(fields[12])) / TICK - 2 / TICK)
        except OSError:
            pass
    return total


def rss_mib(pid):
    total = 0
    for process in process_tree(pid) if pid else []:
        try:
            with open(f"/proc/{process}/status", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
        except OSError:
            pass
    return total / 1024


def measure_query(connection, pid, path, seconds, least=3):
    if least > 1:  # one that is not counted fills caches
        status, body = connection.request("GET", path)
        if status != 200:
            return {"status": status, "detail": body[:300].decode(errors="replace")}
    walls = []
    before, started = cpu_seconds(pid), time.perf_counter()
    while len(walls) < least or (time.perf_counter() - started < seconds and len(walls) < 2000):
        begin = time.perf_counter()
        status, body = connection.request("GET", path)
        walls.append(time.perf_counter() - begin)
        if status != 200:
            return {"status": status, "detail": body[:300].decode(errors="replace")}
    after = cpu_seconds(pid)
    walls.sort()
    answer = json.loads(body)
    roots = {s.get("root_provider_uuid") for s in answer["provider_summaries"].values()}
    return {"status": 200, "requests": len(walls), "p50_ms": statistics.median(walls) * 1e3,
            "p99_ms": walls[min(len(walls) - 1, int(len(walls) * 0.99))] * 1e3,
            "server_ms": None if pid is None else (after - before) / len(walls) * 1e3, "bytes": len(body),
            "candidates": len(answer["allocation_requests"]), "trees": len(roots)}


def claim_worker(url, hosts, seconds, seed, results):
    """PUT one NUMA cell + one VF on a random host, then DELETE; counts pairs."""
    chance, connection = random.Random(seed), Connection(url)
    claims, refused, puts = 0, 0, []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        consumer = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        body = json.dumps({"allocations": fleet.claim(chance.randrange(hosts), chance.randrange(fleet.CELLS)), "project_id": "bench",
                           "user_id": "bench", "consumer_type": "INSTANCE", "consumer_generation": None}).encode()
        begin = time.perf_counter()
        status, answer = connection.request("PUT", f"/allocations/{consumer}", body)
        puts.append(time.perf_counter() - begin)
        if status == 204:
            claims += 1
            status, answer = connection.request("DELETE", f"/allocations/{consumer}")
            if status != 204:
                results.put({"error": f"DELETE {status}: {answer[:200]!r}"})
                return
        elif status in (409, 500):  # full; or SQLite's lock under OpenStack's Placement
            refused += 1
        else:
            results.put({"error": f"PUT {status}: {answer[:200]!r}"})
            return
    results.put({"claims": claims, "refused": refused, "puts": puts})


def measure_claims(url, pid, hosts, clients, seconds):
    results = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=claim_worker, args=(url, hosts, seconds, seed, results)) for seed in range(clients)]
    before, started = cpu_seconds(pid), time.perf_counter()
    for worker in workers:
        worker.start()
    parts = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    elapsed, after = time.perf_counter() - started, cpu_seconds(pid)
    errors = [part["error"] for part in parts if "error" in part]
    if errors:
        return {"error": errors[0]}
    claims, puts = sum(p["claims"] for p in parts), sorted(t for p in parts for t in p["puts"])
    return {"claims": claims, "refused": sum(p["refused"] for p in parts), "claims_per_s": claims / elapsed,
            "put_p50_ms": statistics.median(puts) * 1e3, "put_p99_ms": puts[int(len(puts) * 0.99)] * 1e3,
            "server_ms": None if pid is None or not claims else (after - before) / claims * 1e3}


def number(value, unit="ms"):
    if value is None:
        return "-"
    return f"{value / 1e3:.2f} s" if unit == "ms" and value >= 1e3 else f"{value:.2f} ms" if value < 10 else f"{value:.0f} ms"


def print_queries(result):
    print("| query | limit | server CPU | p50 | p99 | candidates | trees | bytes |\n|---|---|---|---|---|---|---|---|")
    for name, by_limit in result["queries"].items():
        for limit, q in by_limit.items():
            if q["status"] != 200:
                print(f"| {name} | {limit} | HTTP {q['status']} | | | | | |")
                continue
            print(f"| {name} | {limit} | {number(q['server_ms'])} | {number(q['p50_ms'])} | {number(q['p99_ms'])} "
                  f"| {q['candidates']} | {q['trees']} | {q['bytes']} |", flush=True)


def print_claims(result):
    print("| clients | claims/s | PUT p50 | PUT p99 | server CPU a claim | refused |\n|---|---|---|---|---|---|")
    for clients, c in result["claims"].items():
        if "error" in c:
            print(f"| {clients} | {c['error']} | | | | |")
        else:
            print(f"| {clients} | {c['claims_per_s']:.1f} | {number(c['put_p50_ms'])} | {number(c['put_p99_ms'])} "
                  f"| {number(c['server_ms'])} | {c['refused']} |", flush=True)


def compare(ours_path, real_path):
    with open(ours_path, encoding="utf-8") as a, open(real_path, encoding="utf-8") as b:
        ours, real = json.load(a), json.load(b)
    print(f"ours: {ours['hosts']} hosts; the other: {real['hosts']} hosts\n")
    print("| query | limit | ours, CPU | other, CPU | ratio |\n|---|---|---|---|---|")
    for name, by_limit in ours["queries"].items():
        for limit, q in by_limit.items():
            other = real["queries"].get(name, {}).get(limit)
            if other and q["status"] == other["status"] == 200 and q["server_ms"] and other["server_ms"]:
                print(f"| {name} | {limit} | {q['server_ms']:.3f} ms | {other['server_ms']:.1f} ms | {other['server_ms'] / q['server_ms']:.0f} |")
    print("\n| claims, clients | ours/s | other/s | ours, CPU | other, CPU | ratio of CPU |\n|---|---|---|---|---|---|")
    for clients, c in ours.get("claims", {}).items():
        other = real.get("claims", {}).get(clients, {})
        if c.get("server_ms") and other.get("server_ms"):
            print(f"| {clients} | {c['claims_per_s']:.0f} | {other['claims_per_s']:.1f} | {c['server_ms']:.3f} ms "
                  f"| {other['server_ms']:.1f} ms | {other['server_ms'] / c['server_ms']:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="base URL of the service")
    parser.add_argument("--pid", type=int, help="the server's process, to measure its CPU time")
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--gpu-hosts", type=int, default=0, help="also hosts with 8 GPUs each, and the query for 6")
    parser.add_argument("--limits", default="10,1000", help="comma-separated; 0: no limit")
    parser.add_argument("--queries", help="only these, comma-separated; 'none' for none")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each query")
    parser.add_argument("--least", type=int, default=3, help="requests for each query, whatever --seconds says; 1: no warming up")
    parser.add_argument("--claim-seconds", type=float, default=5.0, help="for each number of clients; 0: no claims")
    parser.add_argument("--clients", default="1,4,16")
    parser.add_argument("--load-clients", type=int, default=2)
    parser.add_argument("--no-load", action="store_true", help="the fleet is there already")
    parser.add_argument("--json", help="write the result to this file")
    parser.add_argument("--compare", nargs=2, metavar=("OURS", "OTHER"), help="print ratios of two result files")
    args = parser.parse_args()
    if args.compare:
        return compare(*args.compare)
    if not args.url:
        parser.error("--url is needed")
    result = {"url": args.url, "hosts": args.hosts, "gpu_hosts": args.gpu_hosts, "machine": platform.machine(),
              "cpus": os.cpu_count(), "load_average": os.getloadavg(), "queries": {}, "claims": {}}
    if not args.no_load:
        hosts = [(fleet.host(i), fleet.instances(i)) for i in range(args.hosts)]
        hosts += [(fleet.gpu_host(i), {}) for i in range(args.gpu_hosts)]
        before, started = cpu_seconds(args.pid), time.perf_counter()
        loaded = Loader(args.url, args.load_clients).load(hosts, lambda n: print(f"loaded {n} hosts", file=sys.stderr))
        result["loaded_hosts"], result["load_s"] = loaded, time.perf_counter() - started
        if loaded and args.pid:
            result["load_server_ms_per_host"] = (cpu_seconds(args.pid) - before) / loaded * 1e3
        print(f"{loaded} hosts loaded in {result['load_s']:.1f} s", file=sys.stderr)
    queries = fleet.queries(args.hosts)
    if args.gpu_hosts:
        queries |= fleet.gpu_queries()
    if args.queries:
        queries = {name: query for name, query in queries.items() if name in args.queries.split(",")}
    connection = Connection(args.url)
    for name, query in queries.items():
        for limit in args.limits.split(","):
            path = f"/allocation_candidates?{query}" + (f"&limit={limit}" if limit != "0" else "")
            result["queries"].setdefault(name, {})[limit] = measure_query(connection, args.pid, path, args.seconds, args.least)
    print_queries(result)
    if args.claim_seconds:
        for clients in args.clients.split(","):
            result["claims"][clients] = measure_claims(args.url, args.pid, args.hosts, int(clients), args.claim_seconds)
        print()
        print_claims(result)
    result["rss_mib"] = rss_mib(args.pid)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
