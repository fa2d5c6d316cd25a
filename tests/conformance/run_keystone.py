#!/usr/bin/python3
"""Runs berth-placement against a real Keystone: who gets in, who does not, with which answer.

Needs Debian's python3-keystone, which is started here on an SQLite file of its own, with Fernet tokens.

    tests/conformance/run_keystone.py --server build/dev/bin/berth-placement

Exit status: 0 all as it should be, 1 not, 77 something that is needed is not there.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import server as own_server  # noqa: E402

CONFIG = """[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///{folder}/keystone.db
[token]
provider = fernet
[fernet_tokens]
key_repository = {folder}/fernet/
[credential]
key_repository = {folder}/credential/
"""
SERVE = """
import sys
sys.argv = ["keystone", "--config-file", "{folder}/keystone.conf"]
from wsgiref.simple_server import make_server
from keystone.server.wsgi import initialize_public_application
make_server("127.0.0.1", {port}, initialize_public_application()).serve_forever()
"""


def request(url, method="GET", body=None, **headers):
    """-> (status, headers, decoded body or None)"""
    data = json.dumps(body).encode() if body is not None else None
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = urllib.request.Request(url, method=method, data=data, headers={"content-type": "application/json", **fields})
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            status, got, raw = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        status, got, raw = error.code, error.headers, error.read()
    try:
        return status, got, json.loads(raw) if raw else None
    except ValueError:
        return status, got, None


class Keystone:
    def __init__(self, folder):
        self.folder, self.port = folder, own_server.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        with open(f"{folder}/keystone.conf", "w", encoding="utf-8") as out:
            out.write(CONFIG.format(folder=folder))
        for key_folder in ("fernet", "credential"):
            os.mkdir(f"{folder}/{key_folder}", 0o700)
        user = os.environ.get("USER") or "root"
        self._manage("db_sync")
        self._manage("fernet_setup", "--keystone-user", user, "--keystone-group", user)
        self._manage("credential_setup", "--keystone-user", user, "--keystone-group", user)
        self._manage("bootstrap", "--bootstrap-password", "secret", "--bootstrap-public-url", self.url + "/v3")
        self.process = subprocess.Popen(["/usr/bin/python3", "-c", SERVE.format(folder=folder, port=self.port)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                request(self.url + "/v3")
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.1)

    def _manage(self, *arguments):
        subprocess.run(["/usr/bin/keystone-manage", "--config-file", self.folder + "/keystone.conf", *arguments],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def login(self, user, password, project):
        domain = {"name": "Default"}
        body = {"auth": {"identity": {"methods": ["password"], "password": {
            "user": {"name": user, "domain": domain, "password": password}}},
            "scope": {"project": {"name": project, "domain": domain}}}}
        return request(self.url + "/v3/auth/tokens", "POST", body)[1]["X-Subject-Token"]

    def call(self, method, path, body, token):
        status, _, answer = request(self.url + "/v3" + path, method, body, x_auth_token=token)
        if status >= 300:
            raise RuntimeError(f"keystone: {method} {path} -> {status} {answer}")
        return answer

    def add_user(self, name, password, project, role, token):
        user = self.call("POST", "/users", {"user": {"name": name, "password": password, "domain_id": "default"}},
                         token)["user"]["id"]
        roles = {one["name"]: one["id"] for one in self.call("GET", "/roles", None, token)["roles"]}
        self.call("PUT", f"/projects/{project}/users/{user}/roles/{roles[role]}", None, token)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)


def check(keystone, server):
    """-> the number of things that are not as they should be."""
    admin = keystone.login("admin", "secret", "admin")
    project = keystone.call("POST", "/projects", {"project": {"name": "service", "domain_id": "default"}},
                            admin)["project"]["id"]
    keystone.add_user("placement", "placement-secret", project, "admin", admin)
    keystone.add_user("eve", "eve-secret", project, "reader", admin)
    eve = keystone.login("eve", "eve-secret", "service")
    server.restart(keystone={"url": keystone.url, "username": "placement", "password": "placement-secret",
                             "project": "service"})
    failed = 0

    def expect(what, path, token, status):
        nonlocal failed
        headers = {"openstack_api_version": "placement 1.39"}
        if token:
            headers["x_auth_token"] = token
        got, fields, _ = request(server.base_url + path, **headers)
        good = got == status and (status != 401 or (fields["WWW-Authenticate"] or "").startswith("Keystone uri="))
        failed += not good
        print(("ok      " if good else "FAILED  ") + f"{what}: {got}" + ("" if good else f", wanted {status}"))

    expect("the versions need no token", "/", None, 200)
    expect("no token", "/traits", None, 401)
    expect("a token that Keystone does not know", "/traits", "gAAAAABnonsense", 401)
    expect("an admin lists", "/resource_providers", admin, 200)
    expect("a reader does not", "/resource_providers", eve, 403)
    expect("a reader sees the usages of the own project", f"/usages?project_id={project}", eve, 200)
    expect("but not another's", "/usages?project_id=another", eve, 403)
    keystone.stop()
    expect("an answer is remembered while Keystone is away", "/resource_providers", admin, 200)
    expect("an unknown token is not refused then but put off", "/traits", "gAAAAABother", 503)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="the berth-placement program")
    arguments = parser.parse_args()
    if not os.path.exists("/usr/bin/keystone-manage"):
        print("skipped: python3-keystone is not installed")
        return 77
    server = own_server.Server(arguments.server)
    keystone = None
    try:
        with tempfile.TemporaryDirectory(prefix="berth-keystone-") as folder:
            keystone = Keystone(folder)
            return 1 if check(keystone, server) else 0
    finally:
        if keystone is not None:
            keystone.stop()
        server.close()


if __name__ == "__main__":
    sys.exit(main())
