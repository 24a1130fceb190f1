// Package rule is what is decided, apart from how the proxy is spoken to.
package rule

import (
	"strings"

	"flowgate.local/plugin/settings"
)

// Settings are the plugin's.
type Settings struct {
	// What the field `x-label` says.
	Label string
	// Requests to paths that begin so are refused; empty: none.
	Refuse string
}

// Read takes the plugin's settings from JSON. A key that is not known is an error that names it.
func Read(text string) (Settings, error) {
	own := Settings{Label: "reviewed", Refuse: "/upload"}
	return own, settings.Read(text, settings.Places{"label": &own.Label, "refuse": &own.Refuse})
}

// Refused says whether a request to that path is refused.
func (own Settings) Refused(path string) bool {
	return own.Refuse != "" && strings.HasPrefix(path, own.Refuse)
}
