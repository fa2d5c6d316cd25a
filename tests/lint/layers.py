#!/usr/bin/env python3
"""Checks the include lines against the floors of docs/architecture.md. Exit status 1 and one line an offence."""
import os
import re
import sys

ROOT = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Folder -> folders of ours that it may include beside itself. The longest matching prefix decides.
ALLOWED = {
    "common": [],
    "placement/model": ["common"],
    "placement/device_spec": ["common", "placement/model"],
    "db": ["common", "placement/model"],
    "db/sqlite": ["common", "placement/model", "db"],
    "placement/candidates": ["common", "placement/model"],
    "placement/engine": ["common", "placement/model", "db", "scheduler/fit", "scheduler/request"],
    "placement/store": ["common", "placement/model", "placement/engine", "placement/wire", "db", "berth/v1"],
    "placement/wire": ["common", "placement/model", "berth/v1"],
    "placement/client": ["common", "placement/wire", "berth/v1"],
    "placement/grpc": ["common", "placement/model", "placement/wire", "placement/engine", "berth/v1"],
    "placement/rest": ["common", "placement/model", "placement/engine", "placement/candidates"],
    "placement": ["common", "placement", "db", "berth/v1"],
    "scheduler/request": ["common", "placement/model"],
    "scheduler/fit": ["common", "placement/model", "scheduler/request"],
    "scheduler/filters": ["common", "placement/model", "scheduler/request", "scheduler/fit"],
    "scheduler/weighers": ["common", "placement/model", "scheduler/request", "scheduler/fit"],
    "scheduler/explain": ["common", "placement/model", "scheduler/request", "scheduler/fit"],
    "scheduler/rebalance": ["common", "placement/model", "scheduler/request", "scheduler/fit", "scheduler/explain"],
    "scheduler/pipeline": ["common", "placement/model", "scheduler"],
    "scheduler/whatif": ["common", "placement/model", "placement/device_spec", "scheduler/request", "scheduler/fit"],
    "scheduler/service": ["common", "placement/model", "placement/wire", "placement/client", "scheduler", "berth/v1"],
    "scheduler": ["common", "placement/model", "placement/wire", "placement/client", "scheduler", "berth/v1"],
    "compute-agent/inventory": ["common", "placement/model"],
    "compute-agent/preflight": ["common", "placement/model", "compute-agent/inventory"],
    "compute-agent/devices": ["common", "placement/model", "placement/device_spec", "compute-agent/inventory",
                              "compute-agent/preflight", "compute-agent/sriov"],
    "compute-agent/sriov": ["common", "placement/model", "compute-agent/inventory"],
    "compute-agent/images": ["common"],
    "compute-agent/networks": ["common"],
    "compute-agent/instances": ["common", "placement/model", "compute-agent/inventory", "compute-agent/devices",
                                "compute-agent/sriov", "compute-agent/images", "compute-agent/networks", "db/sqlite"],
    "compute-agent/service": ["common", "placement/model", "placement/device_spec", "placement/wire", "placement/client", "compute-agent", "berth/v1"],
    "compute-agent": ["common", "placement/model", "placement/wire", "placement/client", "compute-agent", "berth/v1"],
    "cli": ["common", "placement/model", "placement/wire", "compute-agent/inventory", "compute-agent/devices",
            "compute-agent/preflight", "scheduler/request", "scheduler/whatif", "scheduler/replay", "scheduler/rebalance", "cli", "berth/v1"],
    "deploy": ["common", "placement", "db", "scheduler", "compute-agent", "berth/v1", "deploy"],
    "vmm": ["common", "vmm"],
}
# Third-party headers that only the named folders may include: keeps heavy libraries at the edge.
THIRD_PARTY = {
    r"grpcpp/|grpc/|google/protobuf/": ["placement/wire", "placement/client", "placement/grpc", "placement/main.cc", "placement/store/store_file.cc", "scheduler/service",
                                        "scheduler/main.cc", "compute-agent/service", "compute-agent/main.cc", "cli",
                                        "deploy", "tests"],
    r"sqlite3\.h": ["db/sqlite", "tests"],
    r"re2/": ["placement/device_spec"],
    r"zlib\.h": ["scheduler/replay"],
    r"yaml-cpp/": ["common/yaml.cc"],
    r"spdlog/|fmt/": ["common/log.cc"],
    r"prometheus/": ["common/metrics.cc"],
    r"cpprest/|pplx/": ["common/http/cpprest_server.cc", "common/http/cpprest_client.cc"],
    r"boost/": ["common/http/beast_server.cc"],
    r"rapidjson/": ["placement/rest", "scheduler/whatif", "tests"],
    r"hwloc": ["compute-agent/inventory", "tests"],
    r"CLI/": ["cli", "placement/main.cc", "scheduler/main.cc", "compute-agent/main.cc", "deploy"],
    r"linux/kvm\.h|asm/kvm": ["vmm/kvm", "vmm/vcpu", "vmm/jail/call_table.cc", "tests"],
}
TOP = ("common", "db", "placement", "scheduler", "compute-agent", "cli", "deploy", "vmm")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def within(path, folder):
    return path == folder or path.startswith(folder + "/")


def rule(path):
    return max((f for f in ALLOWED if within(path, f)), key=len, default=None)


def main():
    offences, files = [], 0
    for top in TOP:
        for folder, _, names in os.walk(os.path.join(ROOT, top)):
            for name in sorted(names):
                if not name.endswith((".h", ".cc")):
                    continue
                files += 1
                full = os.path.join(folder, name)
                path = os.path.relpath(full, ROOT)
                own = rule(path)
                # A main.cc puts its component together: it may include all that the component's root may.
                for number, line in enumerate(open(full, encoding="utf-8"), 1):
                    match = INCLUDE.match(line)
                    if not match:
                        continue
                    target = match.group(2)
                    for pattern, places in THIRD_PARTY.items():
                        if re.match(pattern, target) and not any(within(path, p) for p in places):
                            offences.append(f"{path}:{number}: may not include <{target}>; only {', '.join(places)} may")
                    if match.group(1) == "<":
                        continue
                    if "/" not in target:
                        offences.append(f"{path}:{number}: \"{target}\" must be written from the project's root")
                        continue
                    if not (within(target, own) and rule(target) in (own, None)) and \
                       not any(within(target, a) for a in ALLOWED[own]):
                        if os.path.dirname(target) == os.path.dirname(path):
                            continue
                        offences.append(f"{path}:{number}: {own} may not include {target}")
    for offence in offences:
        print(offence)
    print(f"layers: {files} files, {len(offences)} offences")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
