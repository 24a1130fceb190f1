// Package rule is what is decided, apart from how the proxy is spoken to.
package rule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Settings are the plugin's.
type Settings struct {
	// What the field `x-label` says.
	Label string `json:"label"`
	// Requests to paths that begin so are refused; empty: none.
	Refuse string `json:"refuse"`
}

// Read takes the plugin's settings from JSON. A key that is not known is an error that names it.
func Read(text string) (Settings, error) {
	own := Settings{Label: "reviewed", Refuse: "/upload"}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&own); err != nil {
		return own, fmt.Errorf("the settings are `label` and `refuse`: %w", err)
	}
	return own, nil
}

// Refused says whether a request to that path is refused.
func (own Settings) Refused(path string) bool {
	return own.Refuse != "" && strings.HasPrefix(path, own.Refuse)
}
