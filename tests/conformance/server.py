"""A berth-placement of our own for each test file: fresh, in the configuration that the file wants."""
import json
import os
import shutil
import socket
import subprocess
import tempfile


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Starts and stops the program. The port stays the same all the time."""

    def __init__(self, program, log=None):
        self.program, self.log = program, log
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.process = None
        self.folder = tempfile.mkdtemp(prefix="berth-conformance-")

    def restart(self, profile="default", keystone=None):
        """profile: default, open-policy, secure-rbac or cors. keystone: that section of the configuration."""
        self.stop()
        state = tempfile.mkdtemp(dir=self.folder)
        config = {"store": f"sqlite:{state}/placement.db", "log_level": "warning",
                  "grpc": {"listen": "127.0.0.1:0"},
                  "rest": {"listen": f"127.0.0.1:{self.port}", "auth": "none"}}
        if profile == "open-policy":
            config["rest"]["policy_file"] = f"{state}/policy.yaml"
            with open(f"{state}/policy.yaml", "w", encoding="utf-8") as out:
                json.dump({rule: "@" for rule in all_rules()}, out)
        elif profile == "secure-rbac":
            config["rest"]["policy_new_defaults"] = True
        elif profile == "cors":
            config["rest"]["cors"] = {"allowed_origins": ["http://valid.example.com"],
                                      "allow_headers": ["openstack-api-version"]}
        if keystone is not None:
            config["rest"].update(auth="keystone", keystone=keystone)
        path = f"{state}/config.yaml"
        with open(path, "w", encoding="utf-8") as out:
            json.dump(config, out)  # JSON is YAML
        self.process = subprocess.Popen([self.program, "--config", path], stdout=subprocess.PIPE,
                                        stderr=self.log or subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        if "ready" not in line:
            raise RuntimeError(f"{self.program} did not start: {line!r}, status {self.process.wait()}")

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process.stdout.close()
            self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def all_rules():
    """The names of the policy's rules, read from where they are defined."""
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../placement/rest/policy.cc")
    with open(source, encoding="utf-8") as text:
        return [part for part in text.read().split('"') if part.startswith("placement:") and len(part) > 10]
