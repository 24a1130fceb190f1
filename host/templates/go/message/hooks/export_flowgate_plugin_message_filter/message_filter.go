// Package export_flowgate_plugin_message_filter decides about WebSocket messages.
package export_flowgate_plugin_message_filter

import (
	. "flowgate.local/plugin/gen/flowgate_plugin_message_filter"
	"flowgate.local/plugin/hooks/own"
)

// OnMessage is called with one whole message, before it goes on.
func OnMessage(flow *Flow, of Direction, message Message) MessageAction {
	defer flow.Drop()
	if message.Tag() == MessageText {
		if out := own.Settings.Replaced([]byte(message.Text())); out != nil {
			return MakeMessageActionReplace(MakeMessageText(string(out)))
		}
	}
	return MakeMessageActionPass()
}
