package rule

import (
	"strings"
	"testing"
)

func TestRequestsBelowThePathAreRefused(t *testing.T) {
	own, err := Read("{}")
	if err != nil {
		t.Fatal(err)
	}
	if !own.Refused("/upload/a") || own.Refused("/v1/models") {
		t.Error(own)
	}
}

func TestASettingThatIsNotKnownIsNamed(t *testing.T) {
	if _, err := Read(`{"labl": "x"}`); err == nil || !strings.Contains(err.Error(), `"labl"`) {
		t.Error(err)
	}
}
