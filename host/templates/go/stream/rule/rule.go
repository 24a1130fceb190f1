// Package rule is what is decided, apart from how the proxy is spoken to.
package rule

import (
	"bytes"
	"errors"

	"flowgate.local/plugin/settings"
)

// Settings are the plugin's.
type Settings struct {
	// The word to replace, and what stands in its place.
	From, To string
}

// Read takes the plugin's settings from JSON. A key that is not known is an error that names it.
func Read(text string) (Settings, error) {
	own := Settings{From: "secret", To: "public"}
	if err := settings.Read(text, settings.Places{"from": &own.From, "to": &own.To}); err != nil {
		return own, err
	}
	if own.From == "" {
		return own, errors.New("from: there must be a word to replace")
	}
	return own, nil
}

// Replaced is the text with the word replaced, or nil if the word is not in it.
func (own Settings) Replaced(text []byte) []byte {
	if !bytes.Contains(text, []byte(own.From)) {
		return nil
	}
	return bytes.ReplaceAll(text, []byte(own.From), []byte(own.To))
}
