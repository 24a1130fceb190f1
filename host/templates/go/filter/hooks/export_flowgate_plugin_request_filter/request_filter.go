// Package export_flowgate_plugin_request_filter decides about requests while they wait.
package export_flowgate_plugin_request_filter

import (
	"flowgate.local/plugin/gen/flowgate_plugin_log"
	. "flowgate.local/plugin/gen/flowgate_plugin_request_filter"
	"flowgate.local/plugin/gen/flowgate_plugin_types"
	"flowgate.local/plugin/hooks/own"
)

// OnRequest is called when a request's head is read.
func OnRequest(flow *Flow, bodyHeld bool) RequestAction {
	defer flow.Drop()
	if own.Settings.Refused(flow.Request().Path) {
		return MakeRequestActionAnswer(flowgate_plugin_types.LocalResponse{
			Status:  403,
			Headers: []flowgate_plugin_types.Header{{Name: "content-type", Value: []byte("text/plain; charset=utf-8")}},
			Body:    []byte("refused by {{name}}\n"),
		})
	}
	if set := flow.SetHeader(flowgate_plugin_types.DirectionRequest, "x-label", []byte(own.Settings.Label)); set.IsErr() {
		flowgate_plugin_log.Write(flowgate_plugin_log.LevelWarn, "a request has no label: "+set.Err())
	}
	return MakeRequestActionProceed()
}
