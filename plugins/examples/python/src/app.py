"""How the proxy is spoken to. The contract is in wit/; what stands outside of functions runs when the plugin is built."""

import rule
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.lifecycle import BodyMode, Framing, InstanceMode, Registration, Rule
from wit_world.imports import log, records
from wit_world.imports.types import Direction

own = rule.settings("{}")


class Lifecycle(exports.Lifecycle):
    def configure(self, config):
        global own
        try:
            own = rule.settings(config)
        except ValueError as why:
            raise Err(str(why))
        chats = Rule([], ["POST"], ["*/chat/completions*"], [], BodyMode.CAPTURE, BodyMode.CAPTURE, Framing.AS_RECEIVED, 0)
        return Registration(
            "keep-chat", "0.1.0", "Keeps chat answers of one model, a field blanked.", [chats], InstanceMode.POOLED
        )


class Observer(exports.Observer):
    def on_flow_end(self, flow):
        with flow:
            question = flow.body_text(Direction.REQUEST)
            kept = rule.line(own, flow.client().user, flow.url(), question, flow.body_text(Direction.RESPONSE))
        if kept is None:
            return
        try:
            records.keep("answers.jsonl", kept.encode(), records.WriteMode.APPEND)
        except Err as why:
            log.write(log.Level.WARN, f"an answer was not kept: {why.value}")
