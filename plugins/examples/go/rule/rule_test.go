package rule

import (
	"strings"
	"testing"
)

func TestOneModelsAnswersAreKeptWithAFieldBlanked(t *testing.T) {
	own, err := Read(`{"model": "gpt-4o", "blank": "user"}`)
	if err != nil {
		t.Fatal(err)
	}
	line := func(question string) string {
		return string(own.Line(Exchange{URL: "https://api.example.com/", Question: question, Answer: "hello"}))
	}
	if kept := line(`{"model":"gpt-4o"}`); !strings.HasPrefix(kept, `{"user":"[blanked]","url":"https:`) {
		t.Error(kept)
	}
	for _, other := range []string{`{"model":"gpt-4o-mini"}`, "no JSON"} {
		if kept := line(other); kept != "" {
			t.Error(kept)
		}
	}
}

func TestASettingThatIsNotKnownIsNamed(t *testing.T) {
	if _, err := Read(`{"modell": "x"}`); err == nil || !strings.Contains(err.Error(), `"modell"`) {
		t.Error(err)
	}
}
