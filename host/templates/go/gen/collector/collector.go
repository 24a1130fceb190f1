// Package collector keeps Go's garbage collector under control.
//
// A collection that begins while the proxy hands over arguments reads a clock, and calling out is forbidden there: the component traps after some
// hundred calls. So the collector never begins by itself. The bindings run it at the beginning of a hook, when enough has been allocated.
package collector

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	wit "flowgate.local/plugin/gen/wit/runtime"
)

// budget is how many octets are allocated between two collections.
const budget = 4 << 20

var (
	allocated = []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	last      uint64
)

func init() {
	debug.SetGCPercent(-1)
}

// Run collects, if it is time, and lets go of what the proxy handed over in earlier calls. Whatever it hands over is pinned, for it is nobody's
// until the bindings have taken it; they let go of arguments alone, and what a hook asks the proxy for would stay for ever. What is still needed
// is referred to from elsewhere. The arguments of the call that begins are let go of, too: they are not collected before the next one begins.
func Run() {
	metrics.Read(allocated)
	if now := allocated[0].Value.Uint64(); now-last > budget {
		runtime.GC()
		last = now
	}
	wit.Unpin()
}
