// Package settings reads the plugin's settings, token by token: what encoding/json needs to look into types makes a component 2 MB larger.
package settings

import (
	"encoding/json/jsontext"
	"errors"
	"slices"
	"strings"
)

// Places says where the value of each key goes: a *string, *bool, *int64, *float64 or *[]string.
type Places map[string]any

// Read takes them from an object. What that does not mention stays as it was; a key that is not known is an error that names it.
func Read(text string, places Places) error {
	decoder := jsontext.NewDecoder(strings.NewReader(text))
	if begin, err := decoder.ReadToken(); err != nil || begin.Kind() != jsontext.KindBeginObject {
		return errors.New("the settings are no JSON object")
	}
	for {
		key, err := decoder.ReadToken()
		if err != nil {
			return err
		}
		if key.Kind() == jsontext.KindEndObject {
			return nil
		}
		name := key.String()
		place, known := places[name]
		if !known {
			return errors.New("there is no setting \"" + name + "\", only " + places.names())
		}
		if err := read(decoder, place); err != nil {
			return errors.New("\"" + name + "\": " + err.Error())
		}
	}
}

func read(decoder *jsontext.Decoder, place any) error {
	token, err := decoder.ReadToken()
	if err != nil {
		return err
	}
	kind, expected := token.Kind(), ""
	switch place := place.(type) {
	case *string:
		if kind == jsontext.KindString {
			*place = token.String()
			return nil
		}
		expected = "text"
	case *bool:
		if kind == jsontext.KindTrue || kind == jsontext.KindFalse {
			*place = token.Bool()
			return nil
		}
		expected = "true or false"
	case *int64:
		if kind == jsontext.KindNumber {
			*place, err = token.Int()
			return err
		}
		expected = "a whole number"
	case *float64:
		if kind == jsontext.KindNumber {
			*place, err = token.Float()
			return err
		}
		expected = "a number"
	case *[]string:
		if kind == jsontext.KindBeginArray {
			return list(decoder, place)
		}
		expected = "a list of texts"
	default:
		panic("settings go to a *string, *bool, *int64, *float64 or *[]string")
	}
	return errors.New("it is not " + expected)
}

func list(decoder *jsontext.Decoder, place *[]string) error {
	*place = nil
	for decoder.PeekKind() != jsontext.KindEndArray {
		var text string
		if err := read(decoder, &text); err != nil {
			return err
		}
		*place = append(*place, text)
	}
	_, err := decoder.ReadToken()
	return err
}

func (places Places) names() string {
	var names []string
	for name := range places {
		names = append(names, "\""+name+"\"")
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
