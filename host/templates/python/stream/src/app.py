"""How the proxy is spoken to. The contract is in wit/; what stands outside of functions runs when the plugin is built."""

import rule
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.lifecycle import BodyMode, Framing, InstanceMode, Registration, Rule
from wit_world.exports.stream_filter import ChunkAction_Pass, ChunkAction_Replace

own = rule.settings("{}")


class Lifecycle(exports.Lifecycle):
    def configure(self, config):
        global own
        try:
            own = rule.settings(config)
        except ValueError as why:
            raise Err(str(why))
        events = Rule([], [], [], ["text/event-stream"], BodyMode.SKIP, BodyMode.CHUNKS, Framing.SSE_EVENTS, 0)
        return Registration("{{name}}", "0.1.0", "Replaces a word in events.", [events], InstanceMode.POOLED)


class StreamFilter(exports.StreamFilter):
    def on_body_start(self, body_id, flow, of):
        with flow:
            return True

    # What a hook returns is never freed (componentize-py 0.25): events that stay as they are cost nothing, the others their size until the
    # instance is replaced.
    def on_chunk(self, body_id, chunk):
        text = rule.replaced(own, chunk.decode("utf-8", "replace"))
        return ChunkAction_Pass() if text is None else ChunkAction_Replace(text.encode())

    def on_body_end(self, body_id, broken):
        return b""
