/* cc -Isrc tests/test_rule.c src/rule.c -o /tmp/test-rule && /tmp/test-rule */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>

#include "rule.h"

int main(void) {
    settings own;
    buffer line = {0}, why = {0};
    assert(settings_read(of("{\"model\": \"gpt-4o\", \"blank\": \"user\"}"), &own, &why));

    exchange about = {true, of("ana"), of("https://api.example.com/"), of("{\"a\":[{}],\"model\":\"gpt-4o\"}"), of("hel\"lo\n")};
    assert(line_of(&own, &about, &line));
    assert(same((text){line.at, line.len}, of("{\"user\":\"[blanked]\",\"url\":\"https://api.example.com/\",\"model\":\"gpt-4o\","
                                              "\"question\":\"{\\\"a\\\":[{}],\\\"model\\\":\\\"gpt-4o\\\"}\",\"answer\":\"hel\\\"lo\\n\"}\n")));

    about.question = of("{\"model\":\"gpt-4o-mini\"}");
    assert(!line_of(&own, &about, &line));
    about.question = of("no JSON");
    assert(!line_of(&own, &about, &line));

    assert(!settings_read(of("{\"modell\": \"x\"}"), &own, &why));
    assert(begins((text){why.at, why.len}, of("there is no setting `modell`")));
    why.len = 0;
    assert(!settings_read(of("{\"model\": \"a\\nb\"}"), &own, &why));
    assert(begins((text){why.at, why.len}, of("a text without escapes is expected for `model`")));
    puts("all is well");
}
