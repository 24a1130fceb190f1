"""How the proxy is spoken to. The contract is in wit/; what stands outside of functions runs when the plugin is built."""

import rule
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.lifecycle import BodyMode, Framing, InstanceMode, Registration, Rule
from wit_world.exports.request_filter import RequestAction_Answer, RequestAction_Proceed
from wit_world.imports import log
from wit_world.imports.types import Direction, Header, LocalResponse

own = rule.settings("{}")


class Lifecycle(exports.Lifecycle):
    def configure(self, config):
        global own
        try:
            own = rule.settings(config)
        except ValueError as why:
            raise Err(str(why))
        every = Rule([], [], [], [], BodyMode.SKIP, BodyMode.SKIP, Framing.AS_RECEIVED, 0)
        return Registration("{{name}}", "0.1.0", "Labels requests, and refuses some.", [every], InstanceMode.POOLED)


class RequestFilter(exports.RequestFilter):
    # What a hook returns is never freed (componentize-py 0.25), so change the flow by its methods, and return octets only where it must be.
    def on_request(self, flow, body_held):
        with flow:
            if rule.refused(own, flow.request().path):
                headers = [Header("content-type", b"text/plain; charset=utf-8")]
                return RequestAction_Answer(LocalResponse(403, headers, b"refused by {{name}}\n"))
            try:
                flow.set_header(Direction.REQUEST, "x-label", own["label"].encode())
            except Err as why:
                log.write(log.Level.WARN, f"a request has no label: {why.value}")
        return RequestAction_Proceed()
