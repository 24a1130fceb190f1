// Package export_flowgate_plugin_lifecycle is the start: settings in, registration out.
package export_flowgate_plugin_lifecycle

import (
	. "flowgate.local/plugin/gen/flowgate_plugin_lifecycle"
	types "flowgate.local/plugin/gen/wit/types"
	"flowgate.local/plugin/hooks/own"
	"flowgate.local/plugin/rule"
)

// Configure is called once in every instance, before any hook.
func Configure(config string) types.Result[Registration, string] {
	settings, err := rule.Read(config)
	if err != nil {
		return types.Err[Registration, string](err.Error())
	}
	own.Settings = settings
	only := Rule{
		Methods: []string{"POST"}, Paths: []string{"*/chat/completions*"},
		RequestBody: BodyModeCapture, ResponseBody: BodyModeCapture,
	}
	return types.Ok[Registration, string](Registration{
		Name:        "keep-chat",
		Version:     "0.1.0",
		Description: "Keeps chat answers of one model, a field blanked.",
		Rules:       []Rule{only},
		Instances:   InstanceModePooled,
	})
}
