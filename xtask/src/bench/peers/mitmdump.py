"""Says where mitmdump listens, leads the benchmark's names to this machine and, if it is asked to, keeps each flow as a JSON file.

What mitmdump prints after that goes into a file: nobody reads the pipe, and a full one would hold it up.
"""

import json
import os
import sys
import uuid

from mitmproxy import ctx

NAMES = ".first.localhost"


class Bench:
    def load(self, loader):
        loader.add_option("flows_folder", str, "", "Where flows are kept; nowhere if it is empty.")

    def running(self):
        [(host, port, *_), *_] = ctx.master.addons.get("proxyserver").listen_addrs()
        print(f"{host}:{port}", flush=True)
        printed = os.open("printed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(printed, sys.stdout.fileno())
        os.close(printed)

    def server_connect(self, data):
        host, port = data.server.address[:2]
        if host.endswith(NAMES):
            data.server.address = ("127.0.0.1", port)

    def response(self, flow):
        if not ctx.options.flows_folder:
            return
        request, response = flow.request, flow.response
        kept = {
            "client": flow.client_conn.peername[0],
            "began": request.timestamp_start,
            "ended": response.timestamp_end,
            "method": request.method,
            "url": request.pretty_url,
            "request": {"headers": list(request.headers.items(multi=True)), "content": request.get_text(strict=False)},
            "status": response.status_code,
            "response": {"headers": list(response.headers.items(multi=True)), "content": response.get_text(strict=False)},
        }
        with open(os.path.join(ctx.options.flows_folder, f"{uuid.uuid4()}.json"), "w", encoding="utf-8") as file:
            json.dump(kept, file, indent=2)


addons = [Bench()]
