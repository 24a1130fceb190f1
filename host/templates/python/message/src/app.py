"""How the proxy is spoken to. The contract is in wit/; what stands outside of functions runs when the plugin is built."""

import rule
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.lifecycle import BodyMode, Framing, InstanceMode, Registration, Rule
from wit_world.exports.message_filter import Message_Text, MessageAction_Pass, MessageAction_Replace

own = rule.settings("{}")


class Lifecycle(exports.Lifecycle):
    def configure(self, config):
        global own
        try:
            own = rule.settings(config)
        except ValueError as why:
            raise Err(str(why))
        every = Rule([], [], [], [], BodyMode.SKIP, BodyMode.SKIP, Framing.AS_RECEIVED, 0)
        return Registration("{{name}}", "0.1.0", "Replaces a word in messages.", [every], InstanceMode.POOLED)


class MessageFilter(exports.MessageFilter):
    # What a hook returns is never freed (componentize-py 0.25): messages that stay as they are cost nothing, the others their size until the
    # instance is replaced.
    def on_message(self, flow, of, message):
        with flow:
            if not isinstance(message, Message_Text):
                return MessageAction_Pass()
            text = rule.replaced(own, message.value)
            return MessageAction_Pass() if text is None else MessageAction_Replace(Message_Text(text))
