"""Python clients, curl and git through the proxy: a plain request, a streamed answer acknowledged event by event, a WebSocket where there is one.

The origin sends the next event only when the one before was acknowledged by a request of its own, so a proxy that holds events back
hangs here instead of being late.
"""

import asyncio
import os
import ssl
import subprocess
import sys

PROXY, CA, BASE = os.environ["CLIENTS_PROXY"], os.environ["CLIENTS_CA"], os.environ["CLIENTS_BASE"]
STREAM, ACK, WS = BASE + "/v1/chat/completions", BASE + "/ack", BASE.replace("https", "wss") + "/responses"
BODY = '{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'
HEADERS = {"content-type": "application/json"}
EVENTS = 6


def is_event(line):
    return line.startswith(b"data: ") if isinstance(line, bytes) else line.startswith("data: ")


def requests_():
    import requests

    session = requests.Session()
    session.proxies, session.verify = {"https": PROXY}, CA
    # What the machine says of proxies and roots would go before it.
    session.trust_env = False
    assert session.get(BASE + "/plain").text == "plain"
    events = 0
    with session.post(STREAM, data=BODY, headers=HEADERS, stream=True) as answer:
        for line in answer.iter_lines(chunk_size=1):
            if is_event(line):
                events += 1
                assert session.get(ACK).status_code == 200
    assert events == EVENTS, events


def httpx_(http2=True):
    import httpx

    with httpx.Client(proxy=PROXY, verify=ssl.create_default_context(cafile=CA), http2=http2, timeout=30) as client:
        assert client.get(BASE + "/plain").text == "plain"
        events = 0
        with client.stream("POST", STREAM, content=BODY, headers=HEADERS) as answer:
            assert answer.http_version == "HTTP/2"
            for line in answer.iter_lines():
                if is_event(line):
                    events += 1
                    assert client.get(ACK).status_code == 200
        assert events == EVENTS, events


def aiohttp_():
    import aiohttp

    async def run():
        context = ssl.create_default_context(cafile=CA)
        options = {"proxy": PROXY, "ssl": context}
        async with aiohttp.ClientSession() as session:
            async with session.get(BASE + "/plain", **options) as answer:
                assert await answer.text() == "plain"
            events = 0
            async with session.post(STREAM, data=BODY, headers=HEADERS, **options) as answer:
                async for line in answer.content:
                    if is_event(line):
                        events += 1
                        async with session.get(ACK, **options) as ack:
                            assert ack.status == 200
            assert events == EVENTS, events
            async with session.ws_connect(WS, timeout=aiohttp.ClientWSTimeout(ws_close=1), **options) as socket:
                await socket.send_str("hello")
                assert (await socket.receive_str()) == "hello"

    asyncio.run(run())


def openai_():
    import httpx
    import openai

    # Newer ones bring their own fork of httpx, and take proxy and root from the environment.
    os.environ.update({"HTTPS_PROXY": PROXY, "SSL_CERT_FILE": CA})
    client = openai.OpenAI(api_key="none", base_url=BASE + "/v1", max_retries=0)
    with httpx.Client(proxy=PROXY, verify=ssl.create_default_context(cafile=CA)) as acks:
        # The last event says that there is no more, and the client does not hand it out.
        assert acks.get(BASE + "/plain").text == "plain"
        words = []
        for chunk in client.chat.completions.create(model="m", stream=True, messages=[{"role": "user", "content": "hi"}]):
            words.append(chunk.choices[0].delta.content)
            assert acks.get(ACK).status_code == 200
    assert len(words) == EVENTS - 1, words


def websockets_():
    from websockets.sync.client import connect

    with connect(WS, proxy=PROXY, ssl=ssl.create_default_context(cafile=CA), close_timeout=1) as socket:
        socket.send("hello")
        assert socket.recv() == "hello"


def curl(version):
    common = ["curl", "-sS", "--fail", version, "--proxy", PROXY, "--cacert", CA]

    def ask(url):
        return subprocess.run([*common, url], check=True, capture_output=True, timeout=30).stdout

    assert ask(BASE + "/plain") == b"plain"
    events = 0
    with subprocess.Popen([*common, "-N", "-H", "content-type: application/json", "-d", BODY, STREAM], stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            if is_event(line):
                events += 1
                ask(ACK)
    assert (events, process.returncode) == (EVENTS, 0)


def git():
    into = os.environ["CLIENTS_HOME"] + "/clone"
    # What the machine has configured counts for nothing.
    configured = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "NO_PROXY": "", "no_proxy": ""}
    alone = os.environ | configured | {"GIT_SSL_CAINFO": CA, "GIT_TERMINAL_PROMPT": "0"}
    subprocess.run(["git", "-c", "http.proxy=" + PROXY, "clone", "--quiet", BASE + "/repository.git", into], check=True, env=alone, timeout=30)
    subprocess.run(["git", "fsck", "--strict"], cwd=into, check=True, env=alone, stdout=subprocess.DEVNULL)
    with open(into + "/note") as note:
        assert note.read() == "cloned\n"


{
    "requests": requests_,
    "httpx": httpx_,
    "aiohttp": aiohttp_,
    "openai": openai_,
    "websockets": websockets_,
    "curl-http1": lambda: curl("--http1.1"),
    "curl-http2": lambda: curl("--http2"),
    "git": git,
}[sys.argv[1]]()
