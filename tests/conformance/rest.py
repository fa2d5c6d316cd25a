"""Plain HTTP requests to the server under test."""
import http.client
import json
import urllib.parse


class Rest:
    def __init__(self, base_url, token="admin"):
        parts = urllib.parse.urlsplit(base_url)
        self.host, self.port, self.prefix = parts.hostname, parts.port or 80, parts.path.rstrip("/")
        self.token = token

    def __call__(self, method, path, body=None, version="1.37", ok=True):
        """-> (status, decoded body). With `ok`, a status of 300 or more is an error."""
        headers = {"x-auth-token": self.token, "accept": "application/json",
                   "openstack-api-version": "placement " + version}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["content-type"] = "application/json"
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, self.prefix + path, data, headers)
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        if ok and response.status >= 300:
            raise RuntimeError(f"{method} {path} {data} -> {response.status} {raw[:600]}")
        try:
            return response.status, json.loads(raw) if raw else None
        except ValueError:
            return response.status, raw
