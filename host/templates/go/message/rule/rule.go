// Package rule is what is decided, apart from how the proxy is spoken to.
package rule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Settings are the plugin's.
type Settings struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Read takes the plugin's settings from JSON. A key that is not known is an error that names it.
func Read(text string) (Settings, error) {
	own := Settings{From: "secret", To: "public"}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&own); err != nil {
		return own, fmt.Errorf("the settings are `from` and `to`: %w", err)
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
