#!/usr/bin/env python3
"""Puts the fleet of fleet.py straight into the SQLite file of OpenStack's Placement: over its REST API a host takes about
0.3 s of CPU, 10,000 of them an hour. The server has run once (it creates the traits) and is stopped or idle.

    fill_real_placement.py FOLDER/placement.db HOSTS [GPU_HOSTS]"""
import os
import sqlite3
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fleet  # noqa: E402


class Filler:
    def __init__(self, path):
        self.db = sqlite3.connect(path)
        self.names = {table: dict(self.db.execute(f"SELECT {column}, id FROM {table}")) for table, column in (
            ("traits", "name"), ("resource_classes", "name"), ("placement_aggregates", "uuid"), ("projects", "external_id"),
            ("users", "external_id"), ("consumer_types", "name"), ("resource_providers", "uuid"))}

    def ensure(self, table, column, name):
        ids = self.names[table]
        if name not in ids:
            ids[name] = self.db.execute(f"INSERT INTO {table} ({column}) VALUES (?)", (name,)).lastrowid
        return ids[name]

    def add(self, providers, consumers):
        ids = self.names["resource_providers"]
        if providers[0].uuid in ids:
            return
        for provider in providers:
            parent = ids[provider.parent.uuid] if provider.parent else None
            row = self.db.execute("INSERT INTO resource_providers (uuid, name, generation, parent_provider_id) VALUES (?, ?, 1, ?)",
                                  (provider.uuid, provider.name, parent)).lastrowid
            ids[provider.uuid] = row
            self.db.execute("UPDATE resource_providers SET root_provider_id = ? WHERE id = ?", (ids[providers[0].uuid], row))
            for name, inventory in provider.inventories.items():
                self.db.execute(
                    "INSERT INTO inventories (resource_provider_id, resource_class_id, total, reserved, min_unit, max_unit, step_size,"
                    " allocation_ratio) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (row, self.names["resource_classes"][name], *(inventory[field] for field in (
                        "total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio"))))
            traits = provider.traits + ([fleet.LOADED] if provider.parent is None else [])
            for trait in traits:
                self.db.execute("INSERT INTO resource_provider_traits (trait_id, resource_provider_id) VALUES (?, ?)",
                                (self.ensure("traits", "name", trait), row))
            for aggregate in provider.aggregates:
                self.db.execute("INSERT INTO resource_provider_aggregates (resource_provider_id, aggregate_id) VALUES (?, ?)",
                                (row, self.ensure("placement_aggregates", "uuid", aggregate)))
        for consumer, wanted in consumers.items():
            self.db.execute("INSERT INTO consumers (uuid, project_id, user_id, generation, consumer_type_id) VALUES (?, ?, ?, 1, ?)", (
                consumer, self.ensure("projects", "external_id", "bench"), self.ensure("users", "external_id", "bench"),
                self.ensure("consumer_types", "name", "INSTANCE")))
            for uuid, resources in wanted.items():
                for name, amount in resources.items():
                    self.db.execute("INSERT INTO allocations (resource_provider_id, consumer_id, resource_class_id, used) VALUES (?, ?, ?, ?)",
                                    (ids[uuid], consumer, self.names["resource_classes"][name], amount))


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    filler = Filler(sys.argv[1])
    for number in range(int(sys.argv[2])):
        filler.add(fleet.host(number), fleet.instances(number))
    for number in range(int(sys.argv[3]) if len(sys.argv) == 4 else 0):
        filler.add(fleet.gpu_host(number), {})
    filler.db.commit()
    filler.db.execute("ANALYZE")
    filler.db.commit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
