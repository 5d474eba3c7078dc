"""`retort collect` on the ways that lie before many services: through a proxy, and over HTTP/2 to a real server."""

import pathlib
import shutil
import socket
import subprocess
import threading
import types

from collecting import KEY, Books, collect, recipe
from planes import Door, free_port
from program import Scenarios, scratch
from scripted_api import ScriptedApi

# A name that only the proxy knows; and for HTTP without TLS, which a key takes to one's own network only, such an address.
HOST = "teacher.invalid"
OWN = "10.255.255.1"


class Proxy:
    """Forwards absolute-form requests and CONNECT tunnels, whatever host they name, to one port. `asked`: their first lines."""

    def __init__(self, port, refuse=False):
        self.port, self.refuse, self.asked, self.fields = port, refuse, [], []
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://user:secret@127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        data = b""
        while b"\r\n\r\n" not in data:
            more = client.recv(65536)
            if not more:
                return
            data += more
        lines = data.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        self.asked.append(lines[0])
        self.fields.append({name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])})
        if self.refuse:
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        server = socket.create_connection(("127.0.0.1", self.port))
        if lines[0].startswith("CONNECT "):
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:  # the lines of later requests on this connection are the scripted API's to read
            server.sendall(data)
        threading.Thread(target=self.copy, args=(server, client), daemon=True).start()
        self.copy(client, server)

    @staticmethod
    def copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def at(url):
    return types.SimpleNamespace(url=url)


def certificate(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2",
                    "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=IP:127.0.0.1,DNS:{HOST}"], cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def through_a_proxy(s):
    with scratch() as name, ScriptedApi() as api:
        folder = pathlib.Path(name)
        proxy = Proxy(api.port)
        recipe(folder, at(f"http://{OWN}/v1"), 20, teacher="route: own")
        code, told, errors = collect(folder, environment={"http_proxy": proxy.url})
        s.check("a forward proxy is used", code == 0 and told["complete"] and len(Books(folder).exchanges) == 20, (code, told, errors))
        s.check("by whole addresses", proxy.asked and all(f"http://{OWN}/v1/" in line for line in proxy.asked), proxy.asked[:3])
        s.check("with its own credentials", all(fields["proxy-authorization"].startswith("Basic ") for fields in proxy.fields), proxy.fields[:1])
        kept = [str(path) for path in folder.rglob("*") if path.is_file() and b"user:secret" in path.read_bytes()]
        s.check("which are kept nowhere", not kept and "secret" not in errors, kept)
        recipe(folder, api, 20, name="direct")
        before = len(proxy.asked)
        code, told, errors = collect(folder, environment={"http_proxy": proxy.url, "no_proxy": "127.0.0.1"})
        s.check("no_proxy goes past it", code == 0 and told["complete"] and len(proxy.asked) == before, errors)


def through_a_tunnel(s):
    with scratch() as name:
        folder = pathlib.Path(name)
        with ScriptedApi(certificate=certificate(folder)) as api:
            proxy = Proxy(api.port)
            recipe(folder, at(f"https://{HOST}/v1"), 20, teacher="route: own")
            trusted = {"https_proxy": proxy.url, "SSL_CERT_FILE": str(folder / "cert.pem")}
            code, _, errors = collect(folder, environment={"https_proxy": proxy.url})
            s.check("a proxy's word doesn't replace a certificate", code == 1 and "not trusted" in errors and not api.requests, errors)
            code, told, errors = collect(folder, environment=trusted)
            s.check("TLS goes through a tunnel", code == 0 and told["complete"], (code, told, errors))
            s.check("asked by name", proxy.asked and all(line == f"CONNECT {HOST}:443 HTTP/1.1" for line in proxy.asked), proxy.asked[:3])
            s.check("and the key stays inside", all(KEY not in str(fields) for fields in proxy.fields), proxy.fields[:1])
            closed = Proxy(api.port, refuse=True)
            code, told, errors = collect(folder, "--set", "name=closed", "--set", "collect.patience_s=1",
                                         environment={**trusted, "https_proxy": closed.url})
            s.check("a proxy that refuses is told, and nothing counts as spent", code == 1 and "403" in errors and
                    (told is None or told["input_tokens"] == told["reserved_tokens"] == 0), (code, told, errors))


class Nginx(Door):
    """HTTP/2 over TLS before the scripted API."""

    def __init__(self, folder, api):
        port = free_port()
        temporary = "".join(f"  {kind}_temp_path tmp_{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(f"""
worker_processes 1;
pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
{temporary}
  log_format ways '$server_protocol $connection $status';
  access_log ways.log ways;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate cert.pem;
    ssl_certificate_key key.pem;
    keepalive_requests 50;
    location / {{
      proxy_pass http://127.0.0.1:{api.port};
      proxy_buffering off;
    }}
  }}
}}
""")
        log = open(folder / "nginx.log", "wb")  # pylint: disable=consider-using-with
        super().__init__(subprocess.Popen(["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"],
                                          stdout=log, stderr=log), port)
        self.url = f"https://127.0.0.1:{port}/v1"
        self.log = folder / "ways.log"


def over_http_2(s):
    with scratch() as name, ScriptedApi(delay_s=0.02) as api:
        folder = pathlib.Path(name)
        certificate(folder)
        with Nginx(folder, api) as nginx:
            trusted = {"SSL_CERT_FILE": str(folder / "cert.pem")}
            for stream in ("false", "true"):
                recipe(folder, nginx, 300, f"stream: {stream}\n  concurrency: 32", name=f"stream-{stream}")
                before = api.requests
                code, told, errors = collect(folder, environment=trusted)
                books = Books(folder, f"stream-{stream}")
                s.check(f"HTTP/2, stream {stream}: all is collected", code == 0 and told["complete"] and len(books.exchanges) == 300
                        and not books.wrong(), (code, told, errors))
                # The server ends a connection after every 50 requests; what it didn't take is asked again.
                retried = books.attempts - books.outcomes.get("answered", 0)
                s.check(f"HTTP/2, stream {stream}: asked once, but for counted retries", 300 <= api.requests - before <= 300 + retried,
                        (api.requests - before, books.outcomes))
            lines = [line.split() for line in nginx.log.read_text().splitlines()]
            s.check("HTTP/2 is spoken", len(lines) >= 600 and {line[0] for line in lines} == {"HTTP/2.0"}, lines[:3])
            connections = len({line[1] for line in lines})
            s.check("many requests share a connection", connections <= len(lines) / 6, connections)
            print(f"{len(lines)} requests over {connections} connections of HTTP/2")


def main():
    s = Scenarios()
    for program in ("nginx", "openssl"):
        s.check(f"{program} is there (scripts/packages-build.txt)", shutil.which(program) is not None)
    if s.failures == 0:
        for scenario in (through_a_proxy, through_a_tunnel, over_http_2):
            scenario(s)
    s.end()


main()
