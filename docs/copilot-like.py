#!/usr/bin/env python3
"""Answers a chat as Copilot's servers do, word by word, for trying flowgate without an account: http://localhost:8090/chat/completions"""

import http.server
import json
import time

WORDS = ["Good", " morning", ".", " This", " was", " streamed", " word", " by", " word", "."]


class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for word in WORDS:
            self.event({"choices": [{"index": 0, "delta": {"content": word}}]}, asked)
            time.sleep(0.3)
        self.event({"choices": [], "usage": {"prompt_tokens": 8, "completion_tokens": len(WORDS)}}, asked)
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, parts, asked):
        event = {"object": "chat.completion.chunk", "model": asked.get("model", "none"), **parts}
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())


http.server.ThreadingHTTPServer(("127.0.0.1", 8090), Answer).serve_forever()
