// Package own holds what all hooks need.
package own

import "flowgate.local/plugin/rule"

// Settings are what `configure` was given.
var Settings rule.Settings
