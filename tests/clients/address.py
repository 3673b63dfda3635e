"""The address that clients know: nginx before Synapse, before nobody, before Conduit with the rule that the importer prints."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import requests
from synapse import free_port

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
PATIENCE_SECONDS = 20


class Address:
    """`base_url` for clients. `tls` is for other servers: ports, certificates with their keys, what is behind them (`None`: what
    is behind `base_url`), and what a `.well-known` file says."""

    def __init__(self, directory: Path, importer: Path):
        if not NGINX:
            raise SystemExit("nginx is not installed")
        self.importer, self.directory = importer, directory / "nginx"
        self.directory.mkdir(exist_ok=True)
        self.port, self.generation, self.tls = free_port(), 0, []
        self.base_url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Address":
        self.write(server="location / { return 502; }")
        with open(self.directory / "output", "w") as log:
            self.process = subprocess.Popen([NGINX, "-c", self.directory / "config"], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        self.wait()
        return self

    def __exit__(self, *_error) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)

    def leads_to(self, upstream: str) -> None:
        self.change(server=f"location / {{ proxy_pass {upstream}; }}")

    def leads_nowhere(self) -> None:
        self.change(server="location / { return 502; }")

    def leads_to_conduit(self, upstream: str, rule: bool, target: str) -> None:
        server, maps = f"location / {{ proxy_pass {upstream}; }}", ""
        if rule:
            printed = subprocess.run([self.importer, "proxy-config", "--for", "nginx", "--target", target,
                                      "--upstream", urlsplit(upstream).netloc],
                                     check=True, capture_output=True, text=True).stdout
            maps, location = printed.split("# In `server`")
            server += f"\n# {location}"
        self.change(server=server, maps=maps, upstream=upstream)

    def change(self, **pieces: str) -> None:
        """Waits until the new configuration counts. Requests that are under way are cut off."""
        self.write(**pieces)
        self.process.send_signal(signal.SIGHUP)
        self.wait()

    def wait(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if requests.get(f"{self.base_url}/generation", timeout=5).text == str(self.generation):
                    return
            except requests.RequestException:
                pass
            if time.monotonic() > deadline:
                raise SystemExit(f"nginx does not answer; see {self.directory / 'output'}")
            time.sleep(0.05)

    def write(self, server: str, maps: str = "", upstream: str = "") -> None:
        self.generation += 1
        here = self.directory
        paths = "".join(f"{kind}_temp_path {here}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        tls = "".join(
            f"server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};\n"
            f"location = /.well-known/matrix/server {{ return 200 '{{\"m.server\": \"{known}\"}}'; }}\n"
            f"location / {{ proxy_pass {there or upstream}; proxy_set_header Host $http_host; }} }}\n"
            for port, certificate, key, there, known in self.tls if there or upstream)
        (here / "config").write_text(
            f"daemon off;\n{'user root;' if os.geteuid() == 0 else ''}\npid {here}/pid;\nerror_log stderr;\n"
            "worker_shutdown_timeout 1s;\nevents {}\n"
            f"http {{\naccess_log {here}/access.log;\n{paths}client_max_body_size 50m;\nproxy_buffering off;\nproxy_read_timeout 10m;\n"
            f"{maps}\n{tls}server {{\nlisten 127.0.0.1:{self.port};\nlocation = /generation {{ return 200 {self.generation}; }}\n"
            f"{server}\n}}\n}}\n")
