package rule

import (
	"strings"
	"testing"
)

func TestTheWordIsReplacedWhereverItStands(t *testing.T) {
	own, err := Read("{}")
	if err != nil {
		t.Fatal(err)
	}
	if out := own.Replaced([]byte("a secret, a secret")); string(out) != "a public, a public" {
		t.Error(string(out))
	}
	if out := own.Replaced([]byte("nothing")); out != nil {
		t.Error(string(out))
	}
}

func TestASettingThatIsNotKnownIsNamed(t *testing.T) {
	if _, err := Read(`{"form": "x"}`); err == nil || !strings.Contains(err.Error(), `"form"`) {
		t.Error(err)
	}
}
