// Package rule is what is decided, apart from how the proxy is spoken to.
package rule

import (
	"bytes"
	"encoding/json"

	"flowgate.local/plugin/settings"
)

// Blanked stands in the place of what is blanked.
const Blanked = "[blanked]"

// Settings are the plugin's.
type Settings struct {
	// Answers of this model are kept; empty: of any.
	Model string
	// A field of the line whose value is blanked.
	Blank string
}

// Read takes the plugin's settings from JSON. A key that is not known is an error that names it.
func Read(text string) (own Settings, err error) {
	err = settings.Read(text, settings.Places{"model": &own.Model, "blank": &own.Blank})
	return own, err
}

// Exchange is what is known of one.
type Exchange struct {
	User                  *string
	URL, Question, Answer string
}

// Line is the line about an exchange, or nil if it is not to be kept.
func (own Settings) Line(about Exchange) []byte {
	var question struct {
		Model *string `json:"model"`
	}
	if json.Unmarshal([]byte(about.Question), &question) != nil || question.Model == nil {
		return nil
	}
	if own.Model != "" && own.Model != *question.Model {
		return nil
	}
	line := struct {
		User     *string `json:"user"`
		URL      string  `json:"url"`
		Model    string  `json:"model"`
		Question string  `json:"question"`
		Answer   string  `json:"answer"`
	}{about.User, about.URL, *question.Model, about.Question, about.Answer}
	blanked := Blanked
	switch own.Blank {
	case "user":
		line.User = &blanked
	case "url":
		line.URL = blanked
	case "model":
		line.Model = blanked
	case "question":
		line.Question = blanked
	case "answer":
		line.Answer = blanked
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(line) != nil {
		return nil
	}
	return out.Bytes()
}
