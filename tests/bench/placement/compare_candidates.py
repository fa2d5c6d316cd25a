#!/usr/bin/env python3
"""Asks two Placement services the same random questions and compares their answers: GET /allocation_candidates (whole set,
mappings and summaries) and GET /resource_providers. Fleets are small, made and removed again over REST; both services must
be empty at the start.

    compare_candidates.py --ours http://127.0.0.1:8778 --other http://127.0.0.1:8779 --fleets 100

Where OpenStack's Placement is known to be wrong the difference is counted, not reported: see KNOWN. Exit status 1 and the
question with both answers at the first unexplained difference. Only the standard library is needed."""
import argparse
import json
import os
import random
import sys
import urllib.parse
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from raw_http import Connection  # noqa: E402

TRAITS = ["HW_NUMA_ROOT", "HW_CPU_X86_AVX2", "HW_NIC_SRIOV", "STORAGE_DISK_SSD"]
CLASSES = ["VCPU", "MEMORY_MB", "DISK_GB", "SRIOV_NET_VF"]
AGGREGATES = [str(uuid.UUID(int=0xa0 << 120 | i)) for i in range(5)]  # the last is nobody's
KNOWN = {
    "inflated": "a class in the group without suffix and in another, without group_policy=none: amounts nobody asked for",
    "nested sharing": "500 for a sharing provider that is not a root",
    "anchor lost": "a group without suffix that only sharing providers serve is kept for one host (of those it is shared with), whatever the other groups need",
    "resourceless": "groups without resources: in_tree forgotten; nothing found without required or member_of",
}


class Fleet:
    """Random providers, the same for both services."""

    def __init__(self, chance):
        self.providers, self.consumers = [], {}
        for _ in range(chance.randint(1, 3)):
            root = len(self.providers)
            self.add(chance, None)
            for _ in range(chance.randint(0, 4)):
                if len(self.providers) - 1 > root and chance.random() < 0.4:  # a twin of the one before
                    twin = dict(self.providers[-1])
                    self.append(chance, twin)
                else:
                    self.add(chance, chance.randrange(root, len(self.providers)))
        for _ in range(chance.randint(0, 3)):
            self.consume(chance)

    def append(self, chance, provider):
        number = len(self.providers)
        provider |= {"uuid": str(uuid.UUID(int=chance.getrandbits(128), version=4)), "name": f"compare-{number}"}
        self.providers.append(provider)

    def add(self, chance, parent):
        inventories = {}
        for name in CLASSES:
            if chance.random() < 0.45:
                total = chance.randint(2, 8)
                inventories[name] = {
                    "total": total, "reserved": chance.randint(0, total) if chance.random() < 0.2 else 0,
                    "min_unit": chance.randint(1, 2) if chance.random() < 0.2 else 1,
                    "max_unit": chance.randint(1, 4) if chance.random() < 0.25 else total,
                    "step_size": 2 if chance.random() < 0.12 else 1, "allocation_ratio": chance.choice([1.0, 1.0, 1.0, 1.5, 0.7])}
        traits = [trait for trait in TRAITS if chance.random() < 0.33]
        aggregates = {aggregate for aggregate in AGGREGATES[:4] if chance.random() < 0.15}
        if chance.random() < 0.2:
            traits.append("MISC_SHARES_VIA_AGGREGATE")
            aggregates.add(chance.choice(AGGREGATES[:4]))
        self.append(chance, {"parent": parent, "inventories": inventories, "traits": traits, "aggregates": sorted(aggregates)})

    def consume(self, chance):
        provider = chance.choice(self.providers)
        for name, inventory in provider["inventories"].items():
            amount = inventory["step_size"] * inventory["min_unit"]
            if amount <= inventory["max_unit"] and amount <= (inventory["total"] - inventory["reserved"]) * inventory["allocation_ratio"]:
                if not any(provider["uuid"] in wanted for wanted in self.consumers.values()):
                    self.consumers[str(uuid.UUID(int=chance.getrandbits(128), version=4))] = {provider["uuid"]: {"resources": {name: amount}}}
                return


class Service:
    def __init__(self, url):
        self.url, self.connection = url, Connection(url)

    def call(self, method, path, body=None, good=None):
        status, answer = self.connection.request(method, path, None if body is None else json.dumps(body).encode())
        if good is not None and status not in good:
            raise SystemExit(f"{self.url}: {method} {path} {body}: {status} {answer[:400]!r}")
        return status, json.loads(answer) if answer else None

    def put(self, fleet):
        for provider in fleet.providers:
            body = {"uuid": provider["uuid"], "name": provider["name"]}
            if provider["parent"] is not None:
                body["parent_provider_uuid"] = fleet.providers[provider["parent"]]["uuid"]
            self.call("POST", "/resource_providers", body, good=(200,))
            path, generation = f"/resource_providers/{provider['uuid']}", 0
            if provider["inventories"]:
                answer = self.call("PUT", path + "/inventories", {
                    "inventories": provider["inventories"], "resource_provider_generation": generation}, good=(200,))[1]
                generation = answer["resource_provider_generation"]
            if provider["traits"]:
                answer = self.call("PUT", path + "/traits", {
                    "traits": provider["traits"], "resource_provider_generation": generation}, good=(200,))[1]
                generation = answer["resource_provider_generation"]
            if provider["aggregates"]:
                self.call("PUT", path + "/aggregates", {
                    "aggregates": provider["aggregates"], "resource_provider_generation": generation}, good=(200,))
        for consumer, allocations in fleet.consumers.items():
            self.call("PUT", f"/allocations/{consumer}", {
                "allocations": allocations, "project_id": "compare", "user_id": "compare", "consumer_type": "INSTANCE",
                "consumer_generation": None}, good=(204,))

    def remove(self, fleet):
        for consumer in fleet.consumers:
            self.call("DELETE", f"/allocations/{consumer}", good=(204,))
        for provider in reversed(fleet.providers):
            self.call("DELETE", f"/resource_providers/{provider['uuid']}", good=(204,))


def random_filter(chance, fleet, suffix, query):
    while chance.random() < 0.22:
        traits = chance.sample(TRAITS, chance.randint(1, 2))
        query.append((f"required{suffix}", "in:" + ",".join(traits) if chance.random() < 0.4 else ",".join(traits)))
    if chance.random() < 0.15:
        trait = chance.choice(TRAITS)
        if not any(trait in value for key, value in query if key == f"required{suffix}"):
            query.append((f"required{suffix}", "!" + trait))
    while chance.random() < 0.12:
        aggregates = chance.sample(AGGREGATES, chance.randint(1, 2))
        query.append((f"member_of{suffix}", "in:" + ",".join(aggregates)))
    if chance.random() < 0.08:
        query.append((f"member_of{suffix}", "!" + chance.choice(AGGREGATES)))
    if chance.random() < 0.08:
        query.append((f"in_tree{suffix}", chance.choice(fleet.providers)["uuid"] if chance.random() < 0.9 else str(uuid.uuid4())))


def random_resources(chance, most):
    names = chance.sample(CLASSES, chance.randint(1, most))
    return ",".join(f"{name}:{chance.choice([1, 1, 2, 2, 3, 4])}" for name in names)


def random_question(chance, fleet):
    """The query and which of KNOWN it may run into."""
    query, known = [], set()
    suffixes = [f"_G{i}" for i in range(chance.choice([0, 0, 1, 1, 2, 2, 3]))]
    plain = not suffixes or chance.random() < 0.5
    if plain:
        query.append(("resources", random_resources(chance, 3)))
        random_filter(chance, fleet, "", query)
    resourceless = []
    for i, suffix in enumerate(suffixes):
        before = len(query)
        if len(suffixes) > 1 and (i > 0 or plain) and chance.random() < 0.2:
            resourceless.append(suffix)
        else:
            query.append((f"resources{suffix}", random_resources(chance, 2)))
        random_filter(chance, fleet, suffix, query)
        if len(query) == before:
            query.append((f"required{suffix}", chance.choice(TRAITS)))
    for suffix in resourceless:
        keys = [(key, value) for key, value in query if key.endswith(suffix)]
        positive = any(not value.startswith("!") for key, value in keys if not key.startswith("in_tree"))
        if not positive or any(key.startswith("in_tree") for key, _ in keys):
            known.add("resourceless")
    policy = chance.choice(["none", "isolate"]) if len(suffixes) > 1 or chance.random() < 0.3 else None
    if policy:
        query.append(("group_policy", policy))
    if len(suffixes) > 1 and (resourceless or chance.random() < 0.5):
        query.append(("same_subtree", ",".join(suffixes)))
    if chance.random() < 0.12:
        query.append(("root_required", ("!" if chance.random() < 0.3 else "") + chance.choice(TRAITS)))
    in_plain = {part.split(":")[0] for key, value in query if key == "resources" for part in value.split(",")}
    in_groups = {part.split(":")[0] for key, value in query if key.startswith("resources_") for part in value.split(",")}
    if in_plain & in_groups and policy != "none":
        known.add("inflated")
    if any(p["parent"] is not None and "MISC_SHARES_VIA_AGGREGATE" in p["traits"] for p in fleet.providers):
        known.add("nested sharing")
    return query, known


def normal_candidates(answer):
    candidates = sorted(json.dumps({
        "allocations": c["allocations"], "mappings": {suffix: sorted(uuids) for suffix, uuids in c["mappings"].items()}},
        sort_keys=True) for c in answer["allocation_requests"])
    summaries = {key: {**value, "traits": sorted(value["traits"])} for key, value in answer["provider_summaries"].items()}
    return candidates, summaries


def only_anchors_lost(left, right, sharing):
    """Whether all that the other service lacks has its group without suffix served by sharing providers only."""
    missing = [json.loads(text)["mappings"].get("") for text in set(left) - set(right)]
    return not set(right) - set(left) and all(uuids and set(uuids) <= sharing for uuids in missing)


def show_difference(a, b, normal):
    if a[0] != 200 or b[0] != 200:
        print(f"ours {a[0]}: {json.dumps(a[1])[:1000]}\nother {b[0]}: {json.dumps(b[1])[:1000]}")
        return
    left, right = normal(a[1]), normal(b[1])
    if isinstance(left, tuple):
        if left[1] != right[1]:
            print(f"summaries: only ours {sorted(set(left[1]) - set(right[1]))}, only the other {sorted(set(right[1]) - set(left[1]))}")
            for key in sorted(set(left[1]) & set(right[1])):
                if left[1][key] != right[1][key]:
                    print(f"summary of {key}: ours {left[1][key]}, the other {right[1][key]}")
        left, right = left[0], right[0]
    for name, some in (("only ours", set(left) - set(right)), ("only the other", set(right) - set(left))):
        print(f"{name}: {len(some)}")
        for text in sorted(some)[:5]:
            print("  " + text)


def compare(ours, other, path, known, counts, normal, sharing=frozenset()):
    a, b = ours.call("GET", path), other.call("GET", path)
    if a[0] == b[0] == 200:
        left, right = normal(a[1]), normal(b[1])
        counts["answered" if left and left[0] else "empty"] += 1
        if left == right:
            return True
        if sharing and only_anchors_lost(left[0], right[0], sharing):
            counts["anchor lost"] += 1
            return True
    elif a[0] == b[0]:
        counts["refused by both"] += 1
        return True
    if b[0] == 500 and a[0] == 200 and "nested sharing" in known:
        counts["nested sharing"] += 1
        return True
    for reason in ("inflated", "resourceless"):
        if reason in known and a[0] == 200:
            counts[reason] += 1
            return True
    print(f"DIFFERENT: {path}")
    show_difference(a, b, normal)
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--other", required=True)
    parser.add_argument("--fleets", type=int, default=50)
    parser.add_argument("--questions", type=int, default=30, help="for each fleet")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    ours, other = Service(args.ours), Service(args.other)
    counts = {name: 0 for name in ("answered", "empty", "refused by both", *KNOWN)}
    for number in range(args.fleets):
        chance = random.Random(args.seed * 1_000_003 + number)
        fleet = Fleet(chance)
        services = [ours] if ours.url == other.url else [ours, other]
        for service in services:
            service.put(fleet)
        try:
            sharing = {p["uuid"] for p in fleet.providers if "MISC_SHARES_VIA_AGGREGATE" in p["traits"]}
            for _ in range(args.questions):
                query, known = random_question(chance, fleet)
                if not compare(ours, other, "/allocation_candidates?" + urllib.parse.urlencode(query), known, counts, normal_candidates,
                               sharing):
                    print(f"fleet {number} of seed {args.seed}:\n{json.dumps(fleet.providers, indent=1)}\n{json.dumps(fleet.consumers, indent=1)}")
                    return 1
                query = [("resources", random_resources(chance, 2))] if chance.random() < 0.5 else []
                random_filter(chance, fleet, "", query)
                if not compare(ours, other, "/resource_providers?" + urllib.parse.urlencode(query), set(), counts,
                               lambda answer: sorted(provider["uuid"] for provider in answer["resource_providers"])):
                    print(f"fleet {number} of seed {args.seed}:\n{json.dumps(fleet.providers, indent=1)}")
                    return 1
        finally:
            for service in services:
                service.remove(fleet)
    print(f"{args.fleets} fleets: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
