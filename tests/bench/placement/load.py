"""Puts the fleet into a Placement service over its REST API. Idempotent: hosts that are complete are left alone, others
are completed."""
import json
import threading

import fleet
from raw_http import Connection


class LoadError(Exception):
    pass


class Loader:
    def __init__(self, url, clients=2):
        self.url, self.clients = url, clients

    def expect(self, connection, method, path, body, *good):
        data = None if body is None else json.dumps(body).encode()
        status, answer = connection.request(method, path, data)
        if status not in good:
            raise LoadError(f"{method} {path}: {status} {answer[:300].decode(errors='replace')}")
        return json.loads(answer) if answer and status == 200 else None

    def prepare(self):
        """Traits first; returns the uuids of complete hosts."""
        connection = Connection(self.url)
        for trait in fleet.TRAITS:
            self.expect(connection, "PUT", f"/traits/{trait}", None, 201, 204)
        answer = self.expect(connection, "GET", f"/resource_providers?required={fleet.LOADED}", None, 200)
        return {provider["uuid"] for provider in answer["resource_providers"]}

    def load_host(self, connection, providers, consumers):
        root = providers[0]
        for provider in providers:
            body = {"name": provider.name, "uuid": provider.uuid}
            if provider.parent is not None:
                body["parent_provider_uuid"] = provider.parent.uuid
            self.expect(connection, "POST", "/resource_providers", body, 200, 409)  # 409: there already
        tree = self.expect(connection, "GET", f"/resource_providers?in_tree={root.uuid}", None, 200)
        generations = {provider["uuid"]: provider["generation"] for provider in tree["resource_providers"]}
        for provider in providers:
            if provider.aggregates:
                answer = self.expect(connection, "PUT", f"/resource_providers/{provider.uuid}/aggregates", {
                    "aggregates": provider.aggregates, "resource_provider_generation": generations[provider.uuid]}, 200)
                generations[provider.uuid] = answer["resource_provider_generation"]
            if provider is not root and provider.traits:
                answer = self.expect(connection, "PUT", f"/resource_providers/{provider.uuid}/traits", {
                    "traits": provider.traits, "resource_provider_generation": generations[provider.uuid]}, 200)
                generations[provider.uuid] = answer["resource_provider_generation"]
        # All inventories and the allocations of the host's instances in one request.
        allocations = {}
        for consumer, wanted in consumers.items():
            there = self.expect(connection, "GET", f"/allocations/{consumer}", None, 200)
            allocations[consumer] = {
                "allocations": {uuid: {"resources": resources} for uuid, resources in wanted.items()}, "project_id": "bench",
                "user_id": "bench", "consumer_type": "INSTANCE", "consumer_generation": there.get("consumer_generation")}
        self.expect(connection, "POST", "/reshaper", {
            "inventories": {p.uuid: {"inventories": p.inventories, "resource_provider_generation": generations[p.uuid]}
                            for p in providers},
            "allocations": allocations}, 204)
        generation = self.expect(connection, "GET", f"/resource_providers/{root.uuid}", None, 200)["generation"]
        self.expect(connection, "PUT", f"/resource_providers/{root.uuid}/traits", {
            "traits": root.traits + [fleet.LOADED], "resource_provider_generation": generation}, 200)

    def load(self, hosts, progress=None):
        """hosts: a list of (providers, consumers). Returns how many had to be loaded."""
        complete = self.prepare()
        todo = [host for host in hosts if host[0][0].uuid not in complete]
        lock, failures, done = threading.Lock(), [], [0]

        def work():
            connection = Connection(self.url)
            while not failures:
                with lock:
                    if not todo:
                        return
                    host = todo.pop()
                try:
                    self.load_host(connection, *host)
                except (LoadError, OSError) as error:
                    failures.append(error)
                    return
                with lock:
                    done[0] += 1
                    if progress and done[0] % 100 == 0:
                        progress(done[0])

        threads = [threading.Thread(target=work) for _ in range(self.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return done[0]
