// Package export_flowgate_plugin_stream_filter rewrites bodies while they pass.
package export_flowgate_plugin_stream_filter

import (
	. "flowgate.local/plugin/gen/flowgate_plugin_stream_filter"
	"flowgate.local/plugin/hooks/own"
)

// OnBodyStart says whether a body is of interest.
func OnBodyStart(bodyId uint32, flow *Flow, of Direction) bool {
	flow.Drop()
	return true
}

// OnChunk is called with one event, content coding undone.
func OnChunk(bodyId uint32, chunk []uint8) ChunkAction {
	if out := own.Settings.Replaced(chunk); out != nil {
		return MakeChunkActionReplace(out)
	}
	return MakeChunkActionPass()
}

// OnBodyEnd may append to the body.
func OnBodyEnd(bodyId uint32, broken bool) []uint8 {
	return nil
}
