#!/usr/bin/python3
"""Runs the public API tests of OpenStack Placement against berth-placement, or against any server.

The YAML files come at run time from a checkout of openstack/placement; none of it lies here. Needs python3-gabbi.

    tests/conformance/run_gabbi.py --placement-src CHECKOUT --server build/dev/bin/berth-placement
    tests/conformance/run_gabbi.py --placement-src CHECKOUT --base-url http://127.0.0.1:8778 --reset-cmd ./reset.sh

With --server a fresh one is started for each file, in the configuration that the file wants. With --base-url the
reset command must leave an empty server there; it finds the configuration in $GABBI_PROFILE: default, open-policy
(everybody may do everything), secure-rbac (Placement's new defaults only) or cors.
Exit status: 0 all passed, 1 some failed, 77 something that is needed is not there.
"""
import argparse
import fnmatch
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rest  # noqa: E402
import server as own_server  # noqa: E402
import upstream  # noqa: E402

SUITE = "placement/tests/functional"


class Result(unittest.TestResult):
    """One row a test: (outcome, name, detail)."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def _add(self, outcome, test, detail=""):
        name = getattr(test, "test_data", {}).get("name") or str(test)
        self.rows.append((outcome, name, detail))

    def addSuccess(self, test):
        self._add("pass", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._add("fail", test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._add("fail", test, self.errors[-1][1])

    def addSkip(self, test, reason):
        self._add("skip", test, reason)

    def addExpectedFailure(self, test, err):
        self._add("pass", test, "expected to fail")

    def addUnexpectedSuccess(self, test):
        self._add("fail", test, "unexpected success")


def allow_expressions_in_strings():
    """gabbi learnt only after 2.4 (Debian 12) that /.../ in response_strings is a regular expression."""
    from gabbi.handlers import core

    plain = core.StringResponseHandler.action

    def action(self, test, expected, value=None):
        if not (len(expected) > 1 and expected.startswith("/") and expected.endswith("/")):
            return plain(self, test, expected, value)
        return test.assertRegex(test.output, test.replace_template(expected)[1:-1])
    core.StringResponseHandler.action = action


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--placement-src", default=os.environ.get("BERTH_OPENSTACK_PLACEMENT"),
                        help="checkout of openstack/placement [$BERTH_OPENSTACK_PLACEMENT]")
    parser.add_argument("--server", help="berth-placement program to start for each file")
    parser.add_argument("--base-url", help="a server that runs already")
    parser.add_argument("--reset-cmd", help="shell command that leaves an empty server at --base-url")
    parser.add_argument("--only", action="append", default=[], help="pattern of file names without .yaml; may repeat")
    parser.add_argument("--log", help="write the failures in full here")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the failures in full")
    arguments = parser.parse_args()
    if bool(arguments.server) == bool(arguments.base_url and arguments.reset_cmd):
        parser.error("either --server, or --base-url and --reset-cmd")
    return arguments


def make_reset(arguments, server):
    def by_command(profile):
        done = subprocess.run(arguments.reset_cmd, shell=True, check=False, capture_output=True,
                              env=dict(os.environ, GABBI_PROFILE=profile, BASE_URL=arguments.base_url))
        if done.returncode:
            raise RuntimeError(f"the reset command failed: {(done.stdout + done.stderr)[-2000:]}")
    return server.restart if server else by_command


def run_file(path, base_url, fixtures, driver):
    name = os.path.basename(path)[:-5]
    folder = tempfile.mkdtemp(prefix="gabbi-")
    try:
        os.symlink(path, os.path.join(folder, name + ".yaml"))
        suite = driver.build_tests(folder, unittest.TestLoader(), url=base_url, test_loader_name="placement",
                                   fixture_module=fixtures)
        result = Result()
        suite.run(result)
        return result.rows
    finally:
        shutil.rmtree(folder)


def main():
    arguments = parse_arguments()
    if not arguments.placement_src or not os.path.isdir(os.path.join(arguments.placement_src, SUITE, "gabbits")):
        print("skipped: no checkout of openstack/placement is named (BERTH_OPENSTACK_PLACEMENT)")
        return 77
    try:
        from gabbi import driver
    except ImportError:
        print("skipped: python3-gabbi is not installed")
        return 77
    warnings.simplefilter("ignore")
    allow_expressions_in_strings()
    source = os.path.join(os.path.abspath(arguments.placement_src), SUITE)
    files = [path for path in sorted(glob.glob(source + "/gabbits/*.yaml"))
             if not arguments.only or any(fnmatch.fnmatch(os.path.basename(path)[:-5], o) for o in arguments.only)]
    server = own_server.Server(arguments.server) if arguments.server else None
    base_url = server.base_url if server else arguments.base_url
    upstream.World.rest = rest.Rest(base_url)
    upstream.World.reset = make_reset(arguments, server)
    fixtures = upstream.load_fixtures(source + "/fixtures/gabbits.py")
    began, totals, log = time.time(), {"pass": 0, "fail": 0, "skip": 0}, []
    try:
        for path in files:
            rows = run_file(path, base_url, fixtures, driver)
            counts = {key: sum(1 for row in rows if row[0] == key) for key in totals}
            totals = {key: totals[key] + counts[key] for key in totals}
            print(f"{os.path.basename(path)[:-5]:45} {counts['pass']:4} passed {counts['fail']:3} failed "
                  f"{counts['skip']:3} skipped", flush=True)
            for outcome, test, detail in rows:
                if outcome == "fail":
                    log.append(f"{os.path.basename(path)[:-5]} :: {test}\n{detail}\n")
                    print(f"    FAILED {test}")
                    if arguments.verbose:
                        print("        " + detail.strip().replace("\n", "\n        ")[-3000:])
    finally:
        if server:
            server.close()
    if arguments.log:
        with open(arguments.log, "w", encoding="utf-8") as out:
            out.write("\n".join(log))
    print(f"{len(files)} files in {time.time() - began:.0f} s: " + json.dumps(totals))
    return 1 if totals["fail"] or not totals["pass"] else 0


if __name__ == "__main__":
    sys.exit(main())
