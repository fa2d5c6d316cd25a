#!/usr/bin/python3
"""Runs every command of osc-placement (the CLI of OpenStack Placement) against berth-placement.

Needs Debian's python3-openstackclient and python3-osc-placement. No Keystone: the CLI is given a token and the address.

    tests/conformance/run_osc.py --server build/dev/bin/berth-placement

Exit status: 0 all did what they should, 1 some did not, 77 something that is needed is not there.
"""
import argparse
import contextlib
import json
import os
import sys
import tempfile
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import server as own_server  # noqa: E402


class Cli:
    """Runs each command in a fork of this process, since the client takes a second to start."""

    def __init__(self, base_url):
        from openstackclient import shell
        self.shell, self.base_url = shell, base_url
        self.ran, self.failed = set(), []

    def _run(self, arguments):
        """-> (status, standard output, standard error)"""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if child == 0:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                status = 1
                try:
                    status = self.shell.main(arguments) or 0
                except SystemExit as end:
                    status = end.code or 0
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(status)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            out.seek(0)
            err.seek(0)
            return status, out.read().decode(), err.read().decode()

    def __call__(self, command, version="1.39", status=0, expect=None):
        """Runs `openstack COMMAND`; -> its decoded output. `expect`: a function of it that must be true."""
        words = command.split()
        arguments = ["--os-auth-type", "admin_token", "--os-endpoint", self.base_url, "--os-token", "admin",
                     "--os-placement-api-version", version] + words
        if expect is not None:
            arguments += ["-f", "json"]
        sys.stdout.flush()
        got, out, err = self._run(arguments)
        self.ran.add(self._name(words))
        value = None
        with contextlib.suppress(ValueError):
            value = json.loads(out)
        try:
            good = got == status and (expect is None or expect(value))
        except (LookupError, TypeError):
            good = False
        print(("ok      " if good else "FAILED  ") + f"{version:5} openstack {command}")
        if not good:
            print(f"    status {got}, wanted {status}\n    {out[:600]}\n    {err[-600:]}")
            self.failed.append(command)
        return value

    @staticmethod
    def _name(words):
        return " ".join(word for word in words if word.isalpha() and word.islower())


def commands():
    """The names of all commands that the installed osc-placement has, from its entry points."""
    from importlib import metadata
    points = metadata.entry_points().select(group="openstack.placement.v1")
    return {point.name.replace("_", " ") for point in points}


def walk(cli):
    """One life of everything, with each command at least once. Returns nothing; cli.failed tells."""
    root, child, consumer, aggregate = (str(uuid.uuid4()) for _ in range(4))

    def named(name):
        return lambda rows: any(row["name"] == name for row in rows)

    # names
    cli("resource class create CUSTOM_GPU")
    cli("resource class set CUSTOM_FPGA")
    cli("resource class list", expect=named("CUSTOM_FPGA"))
    cli("resource class show CUSTOM_GPU", expect=lambda row: row["name"] == "CUSTOM_GPU")
    cli("resource class create CUSTOM_GPU", status=1)
    cli("resource class delete CUSTOM_FPGA")
    cli("resource class delete VCPU", status=1)
    cli("trait create CUSTOM_FAST")
    cli("trait list --name startswith:CUSTOM_", expect=lambda rows: [r["name"] for r in rows] == ["CUSTOM_FAST"])
    cli("trait list --associated", expect=lambda rows: rows == [])
    cli("trait show CUSTOM_FAST", expect=lambda row: row["name"] == "CUSTOM_FAST")
    # providers
    cli(f"resource provider create host1 --uuid {root}", expect=lambda row: row["generation"] == 0)
    cli(f"resource provider create host1_numa0 --uuid {child} --parent-provider {root}",
        expect=lambda row: row["root_provider_uuid"] == root)
    cli("resource provider create host1", status=1)
    cli("resource provider create old", version="1.0", expect=lambda row: row["name"] == "old")
    cli(f"resource provider set {child} --name host1_cell0", expect=lambda row: row["name"] == "host1_cell0")
    cli(f"resource provider show {root} --allocations", expect=lambda row: row["allocations"] == {})
    # inventories
    cli(f"resource provider inventory set {root} --resource VCPU=8 --resource MEMORY_MB=16384 "
        "--resource MEMORY_MB:allocation_ratio=1.5 --resource CUSTOM_GPU=8", expect=lambda rows: len(rows) == 3)
    cli(f"resource provider inventory class set {root} CUSTOM_GPU --total 4 --max_unit 2",
        expect=lambda row: row["max_unit"] == 2)
    cli(f"resource provider inventory set {child} --resource VCPU=4", expect=lambda rows: rows[0]["total"] == 4)
    cli(f"resource provider inventory list {root}", expect=lambda rows: len(rows) == 3)
    cli(f"resource provider inventory show {root} MEMORY_MB", expect=lambda row: row["allocation_ratio"] == 1.5)
    # traits, aggregates
    cli(f"resource provider trait set {root} --trait CUSTOM_FAST --trait HW_CPU_X86_AVX2",
        expect=lambda rows: len(rows) == 2)
    cli(f"resource provider trait list {root}", expect=named("CUSTOM_FAST"))
    cli(f"resource provider aggregate set {root} --aggregate {aggregate} --generation 3",
        expect=lambda rows: rows[0]["uuid"] == aggregate)
    cli(f"resource provider aggregate list {root}", expect=lambda rows: rows[0]["uuid"] == aggregate)
    cli(f"resource provider aggregate set {root} --aggregate {aggregate} --generation 99", status=1)
    # searches
    cli(f"resource provider list --member-of {aggregate} --required CUSTOM_FAST --resource VCPU=2",
        expect=lambda rows: [r["uuid"] for r in rows] == [root])
    cli(f"resource provider list --in-tree {child}", expect=lambda rows: len(rows) == 2)
    cli("resource provider list --forbidden CUSTOM_FAST --name host1", expect=lambda rows: rows == [])
    cli("allocation candidate list --resource VCPU=1 --resource CUSTOM_GPU=1 --limit 5 --required CUSTOM_FAST",
        version="1.29", expect=lambda rows: {r["resource provider"] for r in rows} >= {root})
    cli("allocation candidate list --group 1 --resource VCPU=1 --group 2 --resource VCPU=1 --group-policy isolate",
        version="1.29", expect=lambda rows: len(rows) == 4)
    # allocations
    cli(f"resource provider allocation set {consumer} --allocation rp={root},VCPU=2,CUSTOM_GPU=1 --project-id p1 "
        "--user-id u1", version="1.28", expect=lambda rows: rows[0]["resources"] == {"CUSTOM_GPU": 1, "VCPU": 2})
    cli(f"resource provider allocation show {consumer}", version="1.28",
        expect=lambda rows: rows[0]["project_id"] == "p1")
    cli(f"resource provider allocation set {consumer} --allocation rp={root},VCPU=1000 --project-id p1 --user-id u1",
        version="1.28", status=1)
    cli(f"resource provider usage show {root}", expect=lambda rows: {r["resource_class"]: r["usage"] for r in rows} ==
        {"VCPU": 2, "MEMORY_MB": 0, "CUSTOM_GPU": 1})
    cli("resource usage show p1 --user-id u1", version="1.9", expect=lambda rows: len(rows) == 2)
    cli(f"resource provider inventory delete {root} --resource-class VCPU", status=1)
    cli(f"resource provider delete {root}", status=1)
    cli(f"resource provider allocation unset {consumer} --resource-class CUSTOM_GPU", version="1.28",
        expect=lambda rows: rows[0]["resources"] == {"VCPU": 2})
    cli(f"resource provider allocation delete {consumer}")
    # and away
    cli(f"resource provider trait delete {root}")
    cli("trait delete CUSTOM_FAST")
    cli(f"resource provider inventory delete {child} --resource-class VCPU")
    cli(f"resource provider inventory delete {root}")
    cli(f"resource provider delete {child}")
    cli(f"resource provider delete {root}")
    cli("resource provider list --name host1", expect=lambda rows: rows == [])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="the berth-placement program")
    arguments = parser.parse_args()
    try:
        import openstackclient  # noqa: F401
        import osc_placement  # noqa: F401
    except ImportError:
        print("skipped: python3-openstackclient and python3-osc-placement are not installed")
        return 77
    server = own_server.Server(arguments.server)
    try:
        server.restart()
        cli = Cli(server.base_url)
        walk(cli)
    finally:
        server.close()
    missing = {name for name in commands() if not any(ran.startswith(name) for ran in cli.ran)}
    for name in sorted(missing):
        print(f"NOT RUN openstack {name}")
    print(f"{len(commands()) - len(missing)} of {len(commands())} commands, {len(cli.failed)} failed")
    return 1 if cli.failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
