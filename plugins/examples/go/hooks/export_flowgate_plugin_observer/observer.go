// Package export_flowgate_plugin_observer is told of flows after their end.
package export_flowgate_plugin_observer

import (
	. "flowgate.local/plugin/gen/flowgate_plugin_context"
	"flowgate.local/plugin/gen/flowgate_plugin_log"
	"flowgate.local/plugin/gen/flowgate_plugin_records"
	"flowgate.local/plugin/gen/flowgate_plugin_types"
	"flowgate.local/plugin/hooks/own"
	"flowgate.local/plugin/rule"
)

// OnFlowEnd is called once for every flow that a rule matches.
func OnFlowEnd(flow *Flow) {
	defer flow.Drop()
	about := rule.Exchange{
		URL:      flow.Url(),
		Question: flow.BodyText(flowgate_plugin_types.DirectionRequest),
		Answer:   flow.BodyText(flowgate_plugin_types.DirectionResponse),
	}
	if user := flow.Client().User; user.IsSome() {
		name := user.Some()
		about.User = &name
	}
	line := own.Settings.Line(about)
	if line == nil {
		return
	}
	kept := flowgate_plugin_records.Keep("answers.jsonl", line, flowgate_plugin_records.WriteModeAppend)
	if kept.IsErr() {
		flowgate_plugin_log.Write(flowgate_plugin_log.LevelWarn, "an answer was not kept")
	}
}
